// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// cp.async: copies from global to shared memory that are there only once they have been waited for.
#include "tests/cuda_sim/block.h"
#include "tests/cuda_sim/ops/lanes.h"

namespace fathom::cuda_sim {
namespace {

// param: bytes. row[3]: how many of them are read (the rest is zero), if it is there.
void RunCopy(Warp& warp, const Op& op, Mask mask) {
  const uint32_t bytes = op.param;
  uint64_t to[kLanes], from[kLanes];
  warp.Addresses(op, 1, mask, to);
  const uint64_t* base = warp.Row<uint64_t>(op.row[2]);
  const int64_t from_offset = static_cast<int32_t>(op.target);
  for (int lane = 0; lane < kLanes; ++lane) {
    from[lane] = base[lane] + static_cast<uint64_t>(from_offset);
  }
  const uint32_t* limit = op.row[3] == kNoRow ? nullptr : warp.Row<uint32_t>(op.row[3]);
  ForLanes(mask, [&](int lane) {
    Warp::Copy copy;
    copy.to = to[lane];
    copy.bytes = bytes;
    uint32_t read = limit == nullptr ? bytes : limit[lane];
    if (read > bytes) {
      throw Fault{Error::launch_failed,
                  "cp.async reads " + std::to_string(read) + " bytes into a copy of " +
                      std::to_string(bytes),
                  lane};
    }
    if (((to[lane] | from[lane]) & (bytes - 1)) != 0) {
      throw Fault{Error::misaligned_address,
                  "cp.async of " + std::to_string(bytes) + " bytes from " + Hex(from[lane]) +
                      " to shared " + Hex(to[lane]) + " is misaligned",
                  lane};
    }
    // Byte by byte where less than the whole is read: nothing beyond is touched.
    if (read == bytes) {
      std::memcpy(copy.data, warp.Read(op, Space::global, from[lane], bytes, lane), bytes);
    } else {
      for (uint32_t i = 0; i < read; ++i) {
        copy.data[i] = *warp.Read(op, Space::global, from[lane] + i, 1, lane);
      }
    }
    try {
      warp.block().shared().Issue(to[lane], bytes, warp.AccessOf(op, lane));
    } catch (Fault& fault) {
      fault.lane = lane;
      throw;
    }
    warp.Issue(lane, copy);
  });
}

void RunCommit(Warp& warp, const Op& op, Mask mask) {
  ForLanes(mask, [&](int lane) { warp.Commit(lane); });
}

// flag: all, uncommitted copies too.
void RunWait(Warp& warp, const Op& op, Mask mask) {
  ForLanes(mask, [&](int lane) {
    if (op.flag) warp.Commit(lane);
    warp.Wait(op, lane, op.param);
  });
}

void DecodeCopy(Decoder& d) {
  if (!d.Take("async")) d.Fail("only cp.async is supported");
  d.RequireTarget(80);
  if (d.Take("commit_group")) {
    d.ExpectCount(0);
    d.op.run = RunCommit;
    return;
  }
  if (d.Take("wait_all")) {
    d.ExpectCount(0);
    d.op.flag = true;
    d.op.run = RunWait;
    return;
  }
  if (d.Take("wait_group")) {
    d.ExpectCount(1);
    d.op.param = static_cast<uint32_t>(d.Immediate(0));
    d.op.run = RunWait;
    return;
  }
  const int cache = d.TakeOneOf({"ca", "cg"});
  if (cache < 0 || d.TakeOneOf({"shared", "shared::cta"}) < 0 || !d.Take("global")) {
    d.Fail("expected cp.async.{ca,cg}.shared.global");
  }
  d.TakeHints();
  d.ExpectCount(3, 4);
  d.op.param = static_cast<uint32_t>(d.Immediate(2));
  if (d.op.param != 16 && (cache == 1 || (d.op.param != 4 && d.op.param != 8))) {
    d.Fail("expected 16 bytes (or 4 or 8 with .ca)");
  }
  d.Address(1, 2, Space::global);
  // The offset of the source is kept beside that of the destination.
  const int64_t source_offset = d.op.offset;
  if (source_offset != static_cast<int32_t>(source_offset)) d.Fail("the offset is too large");
  d.op.target = static_cast<uint32_t>(source_offset);
  d.Address(0, 1, Space::shared);
  if (d.count() == 4) d.op.row[3] = d.Source(3, Type::u32);
  d.NoteGranule(d.op.param);
  d.op.run = RunCopy;
}

}  // namespace

void AddAsyncOps(DecoderTable& table) { table.Add({"cp"}, Group::any, DecodeCopy); }

}  // namespace fathom::cuda_sim
