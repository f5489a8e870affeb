#include "message/default_value.h"

#include <charconv>
#include <cstring>
#include <limits>

#include "message/scalar.h"

namespace mrpc::message {
namespace {

template <typename T>
bool number(std::string_view text, uint64_t& bits) {
  T value{};
  if (std::is_floating_point_v<T> && text == "nan") {
    value = std::numeric_limits<T>::quiet_NaN();
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return false;
  }
  bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return true;
}

bool enum_number(const EnumLayout& enumeration, std::string_view name, uint64_t& bits) {
  const int32_t* value = enumeration.by_name(name);
  if (value != nullptr) bits = static_cast<uint32_t>(*value);
  return value != nullptr;
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

// Reads digits of `base` from `at` on, at most `most` of them.
std::optional<char> escaped_number(std::string_view text, size_t& at, int base, int most) {
  int value = 0, read = 0;
  for (; read < most && at < text.size() && digit(text[at]) < base; ++read) value = value * base + digit(text[at++]);
  if (read == 0 || value > 255) return std::nullopt;
  return static_cast<char>(value);
}

// Undoes C escapes: how protoc writes a default of bytes.
bool unescape(std::string_view text, std::string& out) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"?", kMeanings = "\a\b\f\n\r\t\v\\'\"?";
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '\\') {
      out.push_back(text[at++]);
      continue;
    }
    if (++at == text.size()) return false;
    if (const size_t letter = kLetters.find(text[at]); letter != std::string_view::npos) {
      out.push_back(kMeanings[letter]);
      ++at;
      continue;
    }
    const bool hex = text[at] == 'x' || text[at] == 'X';
    if (hex) ++at;
    const auto byte = escaped_number(text, at, hex ? 16 : 8, hex ? 2 : 3);
    if (!byte) return false;
    out.push_back(*byte);
  }
  return true;
}

}  // namespace

bool set_default(FieldLayout& field, std::optional<std::string_view> text) {
  uint64_t& bits = field.default_bits;
  if (!text) {
    if (field.type == FieldType::kEnum && field.enumeration->closed) bits = static_cast<uint32_t>(field.enumeration->values[0].second);
    return true;
  }
  switch (field.type) {
    case FieldType::kString: field.default_text = *text; return true;
    case FieldType::kBytes: return unescape(*text, field.default_text);
    case FieldType::kMessage: return false;
    case FieldType::kEnum: return enum_number(*field.enumeration, *text, bits);
    case FieldType::kBool: bits = *text == "true"; return *text == "true" || *text == "false";
    case FieldType::kDouble: return number<double>(*text, bits);
    case FieldType::kFloat: return number<float>(*text, bits);
    default: break;
  }
  if (scalar_bytes(field.type) == 4) return is_signed(field.type) ? number<int32_t>(*text, bits) : number<uint32_t>(*text, bits);
  return is_signed(field.type) ? number<int64_t>(*text, bits) : number<uint64_t>(*text, bits);
}

}  // namespace mrpc::message
