// Objects and configurations that are refused, with what is wrong with them.
#include <cstdio>
#include <fstream>

#include "dataplane/policy_rig.h"

namespace mrpc::dataplane::testing {
namespace {

std::string refusal(const std::string& object) {
  const auto program = Program::load(spec_of(object));
  return program.ok() ? "" : program.error().text;
}

std::string refusal(const std::shared_ptr<ProgramSpec>& spec, EngineConfig config) {
  const auto program = Program::load(spec);
  if (!program) return program.error().text;
  const auto made = PolicyInstance::make("c", "p", config, {{{"", "", 0}, *program}}, 1, nullptr);
  return made.ok() ? "" : made.error().text;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an object that is none, is cut off, is of another ABI or calls out is refused") {
  CHECK(has(refusal("no-such-file"), "cannot read the compiled policy"));
  CHECK(has(refusal("other_abi"), "not a policy program of ABI 1"));
  CHECK(has(refusal("undefined"), "refers to 'system'"));
  auto old = spec_of("probe");
  old->abi = 0;
  CHECK(has(Program::load(old).error().text, "compiled for ABI 0"));
  std::ifstream whole(TEST_POLICIES "/probe.so", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  const std::string path = TEST_POLICIES "/cut.so";
  for (const size_t length : {size_t{0}, size_t{3}, size_t{64}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(length));
    auto spec = spec_of("probe");
    spec->object = path;
    CHECK_FALSE(Program::load(spec).ok());
  }
  std::remove(path.c_str());
}

TEST_CASE("a configuration that lacks a value, or has one of another type, is refused by name") {
  const EngineConfig good{{"mode", int64_t{0}}, {"value", int64_t{1}}, {"text", std::string("t")}, {"field", std::string("the compiler's")}};
  CHECK(refusal(probe(), good).empty());
  auto lacking = good;
  lacking.erase("value");
  CHECK(refusal(probe(), lacking) == "chain 'c', policy 'p': 'value' has no value");
  auto wrong = good;
  wrong["value"] = std::string("12");
  CHECK(has(refusal(probe(), wrong), "'value' must be an integer"));
  auto outside = probe();
  outside->config[2].offset = 24;
  CHECK(has(refusal(outside, good), "lies outside its block"));
  auto twice = probe();
  twice->state.push_back(twice->state[0]);
  CHECK(has(refusal(twice, good), "two groups of state have one scope"));
}

TEST_CASE("lists of the configuration are sorted, and have each value once") {
  ProgramSpec spec;
  spec.config_bytes = 32;
  spec.config = {{"texts", ConfigType::kTexts, 0}, {"ints", ConfigType::kInts, 16}};
  const auto block = ConfigBlock::build(spec, {{"texts", std::vector<std::string>{"b", "a", "b"}}, {"ints", std::vector<std::string>{"10", "-3", "9", "10"}}});
  REQUIRE(block.ok());
  mrpc_list lists[2];
  std::memcpy(lists, (*block)->data(), sizeof lists);
  REQUIRE(lists[0].count == 2);
  CHECK(to_view(static_cast<const mrpc_text*>(lists[0].items)[0]) == "a");
  REQUIRE(lists[1].count == 3);
  CHECK(static_cast<const int64_t*>(lists[1].items)[0] == -3);
  CHECK_FALSE(ConfigBlock::build(spec, {{"texts", std::vector<std::string>{}}, {"ints", std::vector<std::string>{"1x"}}}).ok());
}

TEST_CASE("a program that is dropped is unmapped, however many there were") {
  const auto maps = [] {
    std::ifstream file("/proc/self/maps");
    size_t lines = 0;
    for (std::string line; std::getline(file, line);) lines += line.find("/policies/") != std::string::npos;
    return lines;
  };
  PolicyRig rig({{"p", probe()}});
  const size_t before = maps();
  for (int i = 0; i < 50; ++i) {
    rig.use({{"p", moved()}});
    rig.use({{"p", probe()}});
  }
  CHECK(maps() == before);
}

}  // namespace mrpc::dataplane::testing
