#include "load/options.h"

#include <doctest/doctest.h>

#include <vector>

using mrpc::Result;
using mrpc::load::Options;

namespace {

Result<Options> parse(std::vector<const char*> args) {
  args.insert(args.begin(), "mrpc-load");
  return mrpc::load::parse_options(static_cast<int>(args.size()), const_cast<char**>(args.data()));
}

}  // namespace

TEST_CASE("options are read") {
  const auto o = parse({"http://h:1/", "--rate", "12.5", "--count", "7", "--metadata", "x-a: b", "--spin"});
  REQUIRE(o.ok());
  CHECK(o->target == "http://h:1/");
  CHECK(o->rate == 12.5);
  CHECK(o->count == 7);
  CHECK(o->metadata.at(0) == std::pair<std::string, std::string>("x-a", "b"));
  CHECK(o->spin);
}

TEST_CASE("what makes no sense is refused") {
  CHECK_FALSE(parse({}).ok());
  CHECK_FALSE(parse({"http://h/"}).ok());                                    // no loop
  CHECK_FALSE(parse({"http://h/", "--rate", "1", "--closed", "1"}).ok());    // two
  CHECK_FALSE(parse({"http://h/", "--rate", "1x"}).ok());
  CHECK_FALSE(parse({"http://h/", "--rate", "nan"}).ok());
  CHECK_FALSE(parse({"http://h/", "--rate"}).ok());
  CHECK_FALSE(parse({"http://h/", "--rate", "1", "--threads", "0"}).ok());
  CHECK_FALSE(parse({"http://h/", "--rate", "1", "--bogus", "0"}).ok());
  CHECK_FALSE(parse({"http://h/", "--closed", "9", "--max-in-flight", "8"}).ok());
}
