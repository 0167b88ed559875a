// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The fathom program: parses the command line and starts a command.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>

#include "runtime/base/status.h"
#include "runtime/tools/commands.h"
#include "runtime/tools/console.h"

namespace fathom::tools {
namespace {

void AddModelFlags(CLI::App* app, ModelFlags* flags) {
  app->add_option("-m,--model,model", flags->model, "The artifact (*.fathom)")->required();
  app->add_option("-t,--threads", flags->threads,
                  "Worker threads, at most one per CPU (default: one per physical core)")
      ->check(CLI::Range(0, 1024));
  app->add_option("--device", flags->device,
                  "Device: cpu, vulkan:0, cuda:0 ..., or auto (see fathom devices)")
      ->capture_default_str();
  app->add_option("--code-cache", flags->code_cache,
                  "Folder for compiled GPU kernels; off: none (default: the user's cache folder)");
  app->add_option("--load", flags->load, "How weights get into memory")
      ->check(CLI::IsMember({"auto", "map", "copy"}))
      ->capture_default_str();
  app->add_option("--check", flags->check, "full: compare every hash before running")
      ->check(CLI::IsMember({"full"}));
  app->add_flag("-q,--quiet", flags->quiet, "Results only");
  app->add_flag("-v,--verbose", flags->verbose, "Say more");
}

void AddChunk(CLI::App* app, int* chunk) {
  app->add_option("--chunk", *chunk, "Most prompt tokens of one pass")->capture_default_str();
}

void AddDeterministic(CLI::App* app, bool* deterministic) {
  app->add_flag("--deterministic", *deterministic,
                "Each sequence's numbers depend on its own tokens alone, to the last bit: not on what "
                "is computed beside it, nor on --chunk");
}

void AddGenerateFlags(CLI::App* app, GenerateFlags* flags) {
  AddModelFlags(app, &flags->model);
  app->add_option("-n,--predict", flags->predict, "Tokens to generate; -1: until the text ends")
      ->capture_default_str();
  app->add_option("-c,--ctx-size", flags->context_size,
                  "Tokens of context; 0: what the model was made for")
      ->transform(CLI::AsSizeValue(true));
  AddChunk(app, &flags->chunk);
  AddDeterministic(app, &flags->deterministic);
  app->add_option("-s,--seed", flags->seed, "Seed of the sampler; -1: a new one each time")
      ->capture_default_str();
  app->add_option("--temp", flags->temperature, "Temperature; 0: always the most likely token")
      ->capture_default_str();
  app->add_option("--top-k", flags->top_k, "Keep the k most likely tokens; 0: all")
      ->capture_default_str();
  app->add_option("--top-p", flags->top_p, "Keep the most likely tokens that together reach p")
      ->capture_default_str();
  app->add_option("--min-p", flags->min_p, "Drop tokens below min-p times the most likely one")
      ->capture_default_str();
  app->add_option("--stop", flags->stop, "Stop at this text (may be given several times)")
      ->allow_extra_args(false);
  app->add_flag("--ignore-eos", flags->ignore_eos, "Never let the model end its text");
}

void AddRun(CLI::App& app, GenerateFlags* flags, std::function<absl::Status()>* command) {
  CLI::App* run = app.add_subcommand("run", "Continue a text");
  AddGenerateFlags(run, flags);
  auto* prompt = run->add_option("-p,--prompt", flags->prompt, "The text to continue");
  run->add_option("-f,--file", flags->file, "A file with the text to continue")->excludes(prompt);
  run->add_flag("--json", flags->json, "Print one JSON object when done");
  run->callback([=] { *command = [=] { return RunGenerate(*flags); }; });
}

void AddChat(CLI::App& app, GenerateFlags* flags, std::function<absl::Status()>* command) {
  CLI::App* chat = app.add_subcommand("chat", "Talk with a model through its chat template");
  AddGenerateFlags(chat, flags);
  chat->add_option("--system", flags->system, "The system message");
  chat->callback([=] { *command = [=] { return RunChat(*flags); }; });
}

void AddBench(CLI::App& app, BenchFlags* flags, std::function<absl::Status()>* command) {
  CLI::App* bench = app.add_subcommand("bench", "Measure prefill, decode and memory bandwidth");
  AddModelFlags(bench, &flags->model);
  bench->add_option("-p,--prompt", flags->prompt, "Prompt lengths to prefill; 0: none")
      ->delimiter(',');
  bench->add_option("-n,--predict", flags->predict, "Numbers of tokens to decode; 0: none")
      ->delimiter(',');
  bench->add_option("-d,--depth", flags->depth,
                    "Tokens already in the context; each depth keeps a context of its own")
      ->delimiter(',');
  bench->add_option("-r,--repetitions", flags->repetitions,
                    "Rounds; each runs every test once, and the bandwidth is measured between")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  AddChunk(bench, &flags->chunk);
  bench->add_option("-b,--sequences", flags->sequences, "Sequences decoded at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  AddDeterministic(bench, &flags->deterministic);
  bench->add_flag("--estimate", flags->estimate,
                  "Run nothing: estimate every kernel's time from its bytes and operations (of an "
                  "artifact, or a checkpoint's directory, config.json or .gguf file)");
  // A flag that may have a value, so that what follows it is never taken for one.
  bench->add_flag("--profile{time}", flags->profile,
                  "Print the time of each kernel; --profile=NAME or FILE.json: with --estimate, the "
                  "target's profile whose rates count");
  bench->add_option("--target", flags->targets, "With --estimate, as fathom compile's")
      ->delimiter(',');
  bench->add_option("--quantize", flags->quantize, "With --estimate, as fathom compile's");
  bench->add_flag("--json", flags->json, "Print JSON");
  bench->callback([=] {
    flags->time_kernels = flags->profile == "time";
    if (flags->time_kernels) flags->profile.clear();
    *command = [=] { return RunBench(*flags); };
  });
}

void AddFileCommands(CLI::App& app, InspectFlags* inspect_flags, VerifyFlags* verify_flags,
                     bool* devices_json, std::function<absl::Status()>* command) {
  CLI::App* inspect = app.add_subcommand("inspect", "Show what an artifact holds");
  inspect->add_option("-m,--model,model", inspect_flags->model, "The artifact (*.fathom)")
      ->required();
  inspect->add_flag("--json", inspect_flags->json, "Print JSON");
  inspect->add_flag("-v,--verbose", inspect_flags->verbose, "Every tensor, kernel and command");
  inspect->callback([=] { *command = [=] { return RunInspect(*inspect_flags); }; });

  CLI::App* verify = app.add_subcommand(
      "verify", "Compare every hash of an artifact with its bytes, or one device with another");
  verify->add_option("-m,--model,model", verify_flags->model, "The artifact (*.fathom)");
  VerifyDeviceFlags* on_device = &verify_flags->on_device;
  verify->add_option("--device", on_device->device,
                     "Run every dispatch on this device and compare what it computes");
  verify->add_option("--against", on_device->against, "The device that is right")
      ->capture_default_str();
  verify->add_option("--tokens", on_device->tokens, "Tokens of the prefill compared")
      ->capture_default_str();
  verify->add_option("--steps", on_device->steps, "Decode steps compared")->capture_default_str();
  verify
      ->add_option("--tolerance", on_device->tolerance,
                   "Allowed difference as a part of a row's largest value; 0: 1e-4")
      ->capture_default_str();
  verify->add_option("--reproducer", on_device->reproducer,
                     "Folder for the first dispatch that fails (default: fathom-reproducer)");
  verify->add_option("--replay", verify_flags->replay, "Run the dispatch of a reproducer again");
  verify->add_option("-t,--threads", verify_flags->threads, "Threads (default: one per CPU)")
      ->check(CLI::Range(0, 1024));
  verify->add_flag("-q,--quiet", verify_flags->quiet, "No output when all is well");
  verify->callback([=] { *command = [=] { return RunVerify(*verify_flags); }; });

  CLI::App* devices = app.add_subcommand("devices", "List the devices of this machine");
  devices->add_flag("--json", *devices_json, "Print JSON");
  devices->callback([=] { *command = [=] { return RunDevices(*devices_json); }; });
}

void AddPlan(CLI::App& app, PlanFlags* flags, std::function<absl::Status()>* command) {
  CLI::App* plan =
      app.add_subcommand("plan", "Say how much memory a model needs, without loading it");
  plan->add_option("-m,--model,model", flags->model,
                   "An artifact; or a checkpoint's directory, config.json or .gguf file, planned as "
                   "it would be compiled")
      ->required();
  auto* device =
      plan->add_option("--device", flags->device, "Device, or auto")->capture_default_str();
  plan->add_option("--memory", flags->memory,
                   "Plan for a device with so much memory, which need not be here (80GiB)")
      ->transform(CLI::AsSizeValue(true))
      ->excludes(device);
  plan->add_option("--target", flags->targets,
                   "As fathom compile's (default: what the device suggests)")
      ->delimiter(',');
  plan->add_option("--quantize", flags->quantize, "As fathom compile's");
  plan->add_option("-c,--ctx-size", flags->context_size,
                   "Tokens of context; 0: what the model was made for")
      ->transform(CLI::AsSizeValue(true));
  AddChunk(plan, &flags->chunk);
  plan->add_option("-b,--sequences", flags->sequences, "Sequences at once")->capture_default_str();
  plan->add_flag("--json", flags->json, "Print JSON");
  plan->callback([=] { *command = [=] { return RunPlan(*flags); }; });
}

int Main(int argc, char** argv) {
  // Their flags are fathom-compile's own.
  if (argc >= 2 && (std::string(argv[1]) == "compile" || std::string(argv[1]) == "explain")) {
    std::vector<std::string> arguments(argv + 2, argv + argc);
    if (std::string(argv[1]) == "explain") arguments.insert(arguments.begin(), "--explain");
    const absl::Status status = ExecCompiler(arguments);
    std::fprintf(stderr, "fathom %s: %s\n", argv[1], std::string(status.message()).c_str());
    return ExitCode(status);
  }

  CLI::App app{"Runs models compiled by Fathom.", "fathom"};
  app.set_version_flag("--version", FATHOM_VERSION);
  app.require_subcommand(1);
  app.footer("fathom compile MODEL -o model.fathom   makes an artifact (needs fathom-compile)");
  GenerateFlags run_flags, chat_flags;
  BenchFlags bench_flags;
  InspectFlags inspect_flags;
  PlanFlags plan_flags;
  VerifyFlags verify_flags;
  bool devices_json = false;
  std::function<absl::Status()> command;
  AddRun(app, &run_flags, &command);
  AddChat(app, &chat_flags, &command);
  AddBench(app, &bench_flags, &command);
  AddPlan(app, &plan_flags, &command);
  AddFileCommands(app, &inspect_flags, &verify_flags, &devices_json, &command);
  const auto is_named = [&](const CLI::App* sub) { return sub->check_name(argv[1]); };
  if (argc >= 2 && argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
    std::fprintf(stderr, "fathom: expected a command (see fathom --help), found \"%s\"\n", argv[1]);
    return 1;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are not errors.
    return app.exit(error) == 0 ? 0 : 1;
  }
  CatchInterrupt();
  const absl::Status status = command();
  std::fflush(stdout);
  if (status.ok()) return 0;
  std::fprintf(stderr, "fathom %s: %s\n", app.get_subcommands()[0]->get_name().c_str(),
               std::string(status.message()).c_str());
  return ExitCode(status);
}

}  // namespace
}  // namespace fathom::tools

int main(int argc, char** argv) {
  try {
    return fathom::tools::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fathom: internal error: %s\n", error.what());
    return 3;
  }
}
