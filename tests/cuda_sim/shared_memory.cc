// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Races, bounds and initialisation of shared memory.
#include "tests/cuda_sim/shared_memory.h"

#include <algorithm>
#include <cstring>

namespace fathom::cuda_sim {

SharedMemory::SharedMemory(const Kernel& kernel, uint32_t dynamic_bytes, Uninitialised mode)
    : kernel_(kernel),
      mode_(mode),
      dynamic_bytes_(kernel.dynamic_begin != 0 ? dynamic_bytes : 0),
      shift_(static_cast<uint32_t>(std::countr_zero(kernel.granule))) {
  const uint32_t end = std::max(kernel.shared_bytes, kernel.dynamic_begin + dynamic_bytes_);
  data_.resize(end);
  owner_.resize(end);
  records_.resize((end >> shift_) + 1);
  uint8_t number = 0;
  for (const SharedVariable& variable : kernel.shared) {
    // 255 and more variables share numbers; the gaps between them stay.
    number = static_cast<uint8_t>(std::max(1, (number + 1) & 0xff));
    std::fill_n(owner_.begin() + variable.begin, variable.bytes, number);
  }
  if (dynamic_bytes_ != 0) {
    number = static_cast<uint8_t>(std::max(1, (number + 1) & 0xff));
    std::fill_n(owner_.begin() + kernel.dynamic_begin, dynamic_bytes_, number);
  }
}

void SharedMemory::Reset() {
  first_epoch_ = ++epoch_;
  if (mode_ == Uninitialised::poison) std::fill(data_.begin(), data_.end(), kPoison);
}

void SharedMemory::CheckBounds(uint64_t address, uint32_t bytes) const {
  if (address < data_.size() && bytes <= data_.size() - address && owner_[address] != 0 &&
      owner_[address] == owner_[address + bytes - 1]) {
    return;
  }
  throw Fault{Error::illegal_address,
              "access of " + std::to_string(bytes) + " bytes out of bounds: " + Where(address)};
}

std::string SharedMemory::Where(uint64_t address) const {
  const SharedVariable* nearest = nullptr;
  SharedVariable dynamic{"the dynamic array", kernel_.dynamic_begin, dynamic_bytes_};
  if (kernel_.dynamic_begin != 0 && address >= kernel_.dynamic_begin) nearest = &dynamic;
  for (const SharedVariable& variable : kernel_.shared) {
    if (address >= variable.begin && (nearest == nullptr || variable.begin > nearest->begin)) {
      nearest = &variable;
    }
  }
  if (nearest == nullptr) return "shared address " + Hex(address) + ", before every variable";
  return "shared memory, byte " + std::to_string(address - nearest->begin) + " of " +
         nearest->name + " (" + std::to_string(nearest->bytes) + " bytes)";
}

std::string SharedMemory::Who(uint32_t thread) const {
  return "thread " + std::to_string(thread) + " (warp " + std::to_string(thread / kLanes) + ")";
}

void SharedMemory::Race(uint64_t address, const char* now, const Access& access, const char* before,
                        uint32_t thread, uint32_t line) const {
  const bool warp = thread != kSeveral && thread / kLanes == access.thread / kLanes;
  throw Fault{Error::launch_failed,
              std::string("data race: ") + now + " by " + Who(access.thread) + " after " + before +
                  " by " + (thread == kSeveral ? "other threads" : Who(thread)) + " at PTX line " +
                  std::to_string(line) + " without " + (warp ? "a bar.warp.sync" : "a barrier") +
                  " between them, at " + Where(address)};
}

void SharedMemory::CheckWritten(const Record& record, uint64_t address) const {
  if (record.write_epoch < first_epoch_) {
    if (mode_ == Uninitialised::poison) return;
    throw Fault{Error::launch_failed, "read of memory that nothing has written: " + Where(address)};
  }
  if (record.pending) {
    throw Fault{Error::launch_failed,
                "read of bytes that the asynchronous copy at PTX line " +
                    std::to_string(record.write_line) +
                    " has not brought yet (no wait for it): " + Where(address)};
  }
}

uint8_t* SharedMemory::Update(uint64_t address, uint32_t bytes, const Access& access) {
  CheckBounds(address, bytes);
  for (uint64_t g = address >> shift_; g <= (address + bytes - 1) >> shift_; ++g) {
    CheckWritten(records_[g], std::max(address, g << shift_));
    CheckWrite(records_[g], std::max(address, g << shift_), access, false);
  }
  return data_.data() + address;
}

const uint8_t* SharedMemory::Read(uint64_t address, uint32_t bytes, const Access& access) {
  CheckBounds(address, bytes);
  const uint32_t warp = access.thread / kLanes;
  for (uint64_t g = address >> shift_; g <= (address + bytes - 1) >> shift_; ++g) {
    Record& record = records_[g];
    CheckWritten(record, std::max(address, g << shift_));
    if (record.write_epoch == epoch_ && record.write_thread != access.thread &&
        !(record.atomic && access.atomic) &&
        (record.write_thread / kLanes != warp || record.write_sync == access.sync)) {
      Race(g << shift_, "read", access, record.atomic ? "an atomic" : "a write",
           record.write_thread, record.write_line);
    }
    if (record.read_epoch != epoch_) {
      record.read_epoch = epoch_;
      record.read_warps = 0;
      record.read_thread = static_cast<uint16_t>(access.thread);
    } else if (record.read_thread != access.thread) {
      // A thread alone in its own warp since the last bar.warp.sync may still write.
      const bool old = record.read_warps == 1u << warp && record.read_sync != access.sync;
      record.read_thread = old ? static_cast<uint16_t>(access.thread) : kSeveral;
    }
    record.read_warps |= 1u << warp;
    record.read_sync = access.sync;
    record.read_line = access.line;
  }
  return data_.data() + address;
}

void SharedMemory::CheckWrite(Record& record, uint64_t address, const Access& access,
                              bool same_value) {
  const uint32_t warp = access.thread / kLanes;
  if (record.write_epoch >= first_epoch_ && record.pending) {
    throw Fault{Error::launch_failed, "write over bytes that the asynchronous copy at PTX line " +
                                          std::to_string(record.write_line) +
                                          " has not brought yet: " + Where(address)};
  }
  if (record.write_epoch == epoch_ && record.write_thread != access.thread &&
      !(record.atomic && access.atomic) &&
      (record.write_thread / kLanes != warp || record.write_sync == access.sync)) {
    const bool one_store =
        record.write_line == access.line && record.write_thread / kLanes == warp && same_value;
    if (!one_store) {
      Race(address, "write", access, record.atomic ? "an atomic" : "a write", record.write_thread,
           record.write_line);
    }
  }
  if (record.read_epoch == epoch_) {
    const bool others = (record.read_warps & ~(1u << warp)) != 0;
    const bool mine = record.read_thread != access.thread && record.read_sync == access.sync &&
                      (record.read_warps >> warp & 1) != 0;
    if (others || mine) {
      Race(address, "write", access, "a read", others && !mine ? kSeveral : record.read_thread,
           record.read_line);
    }
  }
  record.write_epoch = epoch_;
  record.write_sync = access.sync;
  record.write_line = access.line;
  record.write_thread = static_cast<uint16_t>(access.thread);
  record.atomic = access.atomic;
  record.pending = false;
}

uint8_t* SharedMemory::Write(uint64_t address, uint32_t bytes, const Access& access,
                             const void* value) {
  CheckBounds(address, bytes);
  uint8_t* const place = data_.data() + address;
  const bool same = value != nullptr && std::memcmp(place, value, bytes) == 0;
  for (uint64_t g = address >> shift_; g <= (address + bytes - 1) >> shift_; ++g) {
    CheckWrite(records_[g], std::max(address, g << shift_), access, same);
  }
  return place;
}

void SharedMemory::Issue(uint64_t address, uint32_t bytes, const Access& access) {
  std::memset(Write(address, bytes, access, nullptr), kPoison, bytes);
  for (uint64_t g = address >> shift_; g <= (address + bytes - 1) >> shift_; ++g) {
    records_[g].pending = true;
  }
}

void SharedMemory::Land(uint64_t address, uint32_t bytes, const Access& access, const void* value) {
  for (uint64_t g = address >> shift_; g <= (address + bytes - 1) >> shift_; ++g) {
    records_[g].pending = false;
    // The copy was checked when it was issued; now its thread has the bytes, others need a barrier.
    records_[g].write_epoch = epoch_;
    records_[g].write_sync = access.sync;
    records_[g].write_thread = static_cast<uint16_t>(access.thread);
  }
  std::memcpy(data_.data() + address, value, bytes);
}

}  // namespace fathom::cuda_sim
