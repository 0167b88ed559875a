// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Reproducers as JSON and plain bytes.
#include "runtime/tools/reproducer.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/base/status.h"

namespace fathom::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string FileOf(const std::string& folder, size_t index, const char* what) {
  return absl::StrCat(folder, "/buffer", index, ".", what, ".bin");
}

absl::Status WriteFile(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  return file ? absl::OkStatus() : InputError(path, "cannot write");
}

absl::StatusOr<std::vector<uint8_t>> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return InputError(path, "cannot open");
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

absl::Status WriteReproducer(const std::string& folder, const Reproducer& reproducer,
                             const std::vector<uint8_t>& code) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return InputError(folder, "cannot make the folder: " + error.message());
  Json json = {{"model", fs::absolute(reproducer.model, error).string()},
               {"device", reproducer.device},
               {"target", reproducer.target},
               {"entry", reproducer.entry},
               {"command", reproducer.command},
               {"last", reproducer.last},
               {"label", reproducer.label},
               {"kernel", reproducer.kernel},
               {"T", reproducer.shape.tokens},
               {"B", reproducer.shape.sequences},
               {"P", reproducer.shape.pages},
               {"R", reproducer.shape.rows},
               {"cache_pages", reproducer.cache_pages},
               {"tolerance", reproducer.tolerance},
               {"buffers", Json::array()}};
  for (size_t i = 0; i < reproducer.buffers.size(); ++i) {
    const ReproducerBuffer& buffer = reproducer.buffers[i];
    json["buffers"].push_back(
        {{"buffer", buffer.buffer}, {"layer", buffer.layer}, {"name", buffer.name}});
    FATHOM_RETURN_IF_ERROR(WriteFile(FileOf(folder, i, "before"), buffer.before));
    FATHOM_RETURN_IF_ERROR(WriteFile(FileOf(folder, i, "expected"), buffer.expected));
    FATHOM_RETURN_IF_ERROR(WriteFile(FileOf(folder, i, "found"), buffer.found));
  }
  FATHOM_RETURN_IF_ERROR(WriteFile(folder + "/code.bin", code));
  const std::string text = json.dump(2) + "\n";
  return WriteFile(folder + "/case.json", {text.begin(), text.end()});
}

absl::StatusOr<Reproducer> ReadReproducer(const std::string& folder) {
  const std::string path = folder + "/case.json";
  FATHOM_ASSIGN_OR_RETURN(const std::vector<uint8_t> text, ReadFile(path));
  Reproducer reproducer;
  try {
    const Json json = Json::parse(text);
    reproducer.model = json.at("model");
    reproducer.device = json.at("device");
    reproducer.target = json.at("target");
    reproducer.entry = json.at("entry");
    reproducer.command = json.at("command");
    reproducer.last = json.at("last");
    reproducer.label = json.at("label");
    reproducer.kernel = json.at("kernel");
    reproducer.shape = {json.at("T"), json.at("B"), json.at("P"), json.at("R")};
    reproducer.cache_pages = json.at("cache_pages");
    reproducer.tolerance = json.at("tolerance");
    for (const Json& item : json.at("buffers")) {
      ReproducerBuffer buffer;
      buffer.buffer = item.at("buffer");
      buffer.layer = item.at("layer");
      buffer.name = item.at("name");
      reproducer.buffers.push_back(std::move(buffer));
    }
  } catch (const std::exception& error) {
    return InputError(path, error.what());
  }
  for (size_t i = 0; i < reproducer.buffers.size(); ++i) {
    FATHOM_ASSIGN_OR_RETURN(reproducer.buffers[i].before, ReadFile(FileOf(folder, i, "before")));
    FATHOM_ASSIGN_OR_RETURN(reproducer.buffers[i].expected,
                            ReadFile(FileOf(folder, i, "expected")));
  }
  return reproducer;
}

}  // namespace fathom::tools
