#include "dataplane/engines/access_control.h"

#include <algorithm>
#include <charconv>
#include <unordered_set>

#include "dataplane/engines/engine_config.h"
#include "message/field_path.h"

namespace mrpc::dataplane {
namespace {

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
using TextSet = std::unordered_set<std::string, TextHash, std::equal_to<>>;

class AccessControl final : public Engine {
 public:
  AccessControl(message::FieldPath path, std::string field, TextSet values, bool denies)
      : path_(std::move(path)), field_(std::move(field)), values_(std::move(values)), denies_(denies) {}

  Action on_request(JudgedCall& call) override {
    const auto value = message::read_path(message::root_view(*call.layout, call.image()), path_);
    char digits[24];
    const std::string_view text = value ? as_text(*value, digits) : std::string_view{};
    if ((values_.find(text) != values_.end()) != denies_) return Action::kForward;
    call.verdict.denial = Error{StatusCode::kPermissionDenied, "field '" + field_ + "' has a value that is not allowed"};
    return Action::kDeny;
  }

  bool reads_bytes() const override { return path_.leaf().type == message::FieldType::kBytes; }

 private:
  static std::string_view as_text(const message::FieldValue& value, char (&digits)[24]) {
    if (const auto* text = std::get_if<std::string_view>(&value)) return *text;
    if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
    const auto number = [&digits](auto n) {
      return std::string_view(digits, static_cast<size_t>(std::to_chars(digits, digits + sizeof digits, n).ptr - digits));
    };
    if (const auto* n = std::get_if<int64_t>(&value)) return number(*n);
    if (const auto* n = std::get_if<uint64_t>(&value)) return number(*n);
    return {};
  }

  message::FieldPath path_;
  std::string field_;
  TextSet values_;
  bool denies_;
};

bool comparable(const message::FieldLayout& leaf) {
  return leaf.cardinality == message::Cardinality::kSingular && leaf.type != message::FieldType::kMessage &&
         leaf.type != message::FieldType::kDouble && leaf.type != message::FieldType::kFloat;
}

}  // namespace

Result<std::unique_ptr<Engine>> make_access_control(const EngineConfig& config, const message::MessageLayout& request) {
  ConfigReader reader(config);
  const auto* field = reader.find<std::string>("field", "a text");
  const auto* deny = reader.find<std::vector<std::string>>("deny", "a list of texts");
  const auto* allow = reader.find<std::vector<std::string>>("allow", "a list of texts");
  reader.require(field != nullptr, "'field' must name a field of the request");
  reader.require((deny == nullptr) != (allow == nullptr), "give one of 'deny' and 'allow'");
  if (const Status done = reader.done(); !done) return done.error();
  auto path = message::resolve_path(request, *field);
  if (!path) return Error{StatusCode::kFailedPrecondition, path.error().text};
  if (!comparable(path->leaf()))
    return Error{StatusCode::kFailedPrecondition, "field '" + *field + "' is not a single text, number, enum or bool"};
  const auto& values = deny != nullptr ? *deny : *allow;
  return std::unique_ptr<Engine>(new AccessControl(std::move(*path), *field, TextSet(values.begin(), values.end()), deny != nullptr));
}

}  // namespace mrpc::dataplane
