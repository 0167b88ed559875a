// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Opening the loader once per process, and instances of it.
#include "backends/vulkan/driver/instance.h"

#include <algorithm>
#include <cstring>
#include <mutex>

namespace fathom::vulkan {
namespace {

constexpr char kValidationLayer[] = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL OnMessage(VkDebugUtilsMessageSeverityFlagBitsEXT,
                                         VkDebugUtilsMessageTypeFlagsEXT,
                                         const VkDebugUtilsMessengerCallbackDataEXT* data,
                                         void* user) {
  const auto& on_message = static_cast<const DriverOptions*>(user)->on_message;
  if (on_message) on_message(data->pMessage != nullptr ? data->pMessage : "");
  return VK_FALSE;
}

// The loader's entry points are the same for every instance, so they are looked up once.
absl::Status OpenLoader() {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  static const VkResult result = volkInitialize();
  if (result == VK_SUCCESS) return absl::OkStatus();
  return absl::UnimplementedError(
      "the Vulkan loader libvulkan.so.1 cannot be opened (Debian: libvulkan1)");
}

bool HasLayer(const char* name) {
  uint32_t count = 0;
  vkEnumerateInstanceLayerProperties(&count, nullptr);
  std::vector<VkLayerProperties> layers(count);
  vkEnumerateInstanceLayerProperties(&count, layers.data());
  return std::any_of(layers.begin(), layers.end(), [&](const VkLayerProperties& layer) {
    return std::strcmp(layer.layerName, name) == 0;
  });
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Instance>> Instance::Create(const DriverOptions& options) {
  FATHOM_RETURN_IF_ERROR(OpenLoader());
  std::shared_ptr<Instance> instance(new Instance(options));
  FATHOM_RETURN_IF_ERROR(instance->CreateInstance());
  return std::shared_ptr<const Instance>(std::move(instance));
}

absl::Status Instance::CreateInstance() {
  if (volkGetInstanceVersion() < VK_API_VERSION_1_1) {
    return absl::UnimplementedError("the Vulkan loader is older than Vulkan 1.1");
  }
  auto application = Make<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  application.pApplicationName = "fathom";
  application.pEngineName = "fathom";
  application.apiVersion = VK_API_VERSION_1_3;
  auto create = Make<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  create.pApplicationInfo = &application;

  const char* layers[] = {kValidationLayer};
  const char* extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
  const VkValidationFeatureEnableEXT enable =
      VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
  auto features = Make<VkValidationFeaturesEXT>(VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT);
  auto messenger = Make<VkDebugUtilsMessengerCreateInfoEXT>(
      VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT);
  messenger.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                              VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                          VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  messenger.pfnUserCallback = OnMessage;
  messenger.pUserData = const_cast<DriverOptions*>(&options_);
  if (options_.validate) {
    if (!HasLayer(kValidationLayer)) {
      return absl::UnimplementedError(absl::StrCat(
          "the layer ", kValidationLayer, " is not installed (Debian: vulkan-validationlayers)"));
    }
    features.enabledValidationFeatureCount = 1;
    features.pEnabledValidationFeatures = &enable;
    features.pNext = &messenger;  // sees the creation of the instance itself
    create.pNext = &features;
    create.enabledLayerCount = 1;
    create.ppEnabledLayerNames = layers;
    create.enabledExtensionCount = 1;
    create.ppEnabledExtensionNames = extensions;
  }
  const VkResult result = vkCreateInstance(&create, nullptr, &instance_);
  if (result == VK_ERROR_INCOMPATIBLE_DRIVER) {
    return absl::UnimplementedError(
        "no Vulkan driver is installed (Debian: mesa-vulkan-drivers, or the GPU vendor's)");
  }
  FATHOM_VK_RETURN_IF_ERROR("vkCreateInstance", result);
  static std::once_flag loaded;
  std::call_once(loaded, [this] { volkLoadInstanceOnly(instance_); });
  if (options_.validate) {
    // Not volk's pointer: the first instance may have been made without the extension.
    const auto create_messenger = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
        vkGetInstanceProcAddr(instance_, "vkCreateDebugUtilsMessengerEXT"));
    FATHOM_VK_RETURN_IF_ERROR("vkCreateDebugUtilsMessengerEXT",
                              create_messenger(instance_, &messenger, nullptr, &messenger_));
  }
  uint32_t count = 0;
  FATHOM_VK_RETURN_IF_ERROR("vkEnumeratePhysicalDevices",
                            vkEnumeratePhysicalDevices(instance_, &count, nullptr));
  physical_devices_.resize(count);
  FATHOM_VK_RETURN_IF_ERROR(
      "vkEnumeratePhysicalDevices",
      vkEnumeratePhysicalDevices(instance_, &count, physical_devices_.data()));
  physical_devices_.resize(count);
  if (count == 0)
    return absl::UnimplementedError("Vulkan drivers are installed but find no device");
  return absl::OkStatus();
}

Instance::~Instance() {
  if (messenger_ != VK_NULL_HANDLE) {
    const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
        vkGetInstanceProcAddr(instance_, "vkDestroyDebugUtilsMessengerEXT"));
    destroy(instance_, messenger_, nullptr);
  }
  if (instance_ != VK_NULL_HANDLE) vkDestroyInstance(instance_, nullptr);
}

}  // namespace fathom::vulkan
