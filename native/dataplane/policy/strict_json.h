// JSON from strangers, where two readings of one text would be a hole: no member twice, no trailing text, no invalid UTF-8, nested at most 16 deep.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mrpc::dataplane {

using Json = nlohmann::json;

// Nullopt when `text` is not such JSON, or no object.
inline std::optional<Json> parse_object(std::string_view text) {
  constexpr int kDepthMax = 16;
  bool strict = true;
  std::vector<std::set<std::string>> names;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key) strict &= names.back().insert(parsed.get_ref<const std::string&>()).second;
    strict &= depth <= kDepthMax;
    return true;
  };
  Json document = Json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (!strict || !document.is_object()) return std::nullopt;
  return document;
}

// The member when it is there and a string; `wrong` is set when it is there and something else.
inline const std::string* text_member(const Json& object, const char* name, bool& wrong) {
  const auto found = object.find(name);
  if (found == object.end()) return nullptr;
  wrong |= !found->is_string();
  return found->is_string() ? &found->get_ref<const std::string&>() : nullptr;
}

}  // namespace mrpc::dataplane
