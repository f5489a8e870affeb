#include "message/descriptor.h"

#include <string>

#include "message/utf8.h"
#include "message/wire.h"

namespace mrpc::message {
namespace {

// Every parse function takes its parent's features as inherited: a message's options may stand after its fields, so options
// are found by a walk of their own before the rest is read.
class DescriptorParser {
 public:
  Result<std::vector<FileDescriptor>> run(std::string_view bytes) {
    std::vector<FileDescriptor> files;
    const bool ok = each(bytes, [&](const WireField& f) {
      return f.number != 1 || (sub(f) && file(f.bytes, files.emplace_back()));
    });
    if (!ok) return invalid_argument("descriptor set: " + (error_.empty() ? "malformed or truncated" : error_));
    return files;
  }

 private:
  bool fail(std::string text) {
    if (error_.empty()) error_ = std::move(text);
    return false;
  }

  template <typename F>
  bool each(std::string_view bytes, F on_field) {
    WireReader in(bytes);
    for (WireField field; !in.done();) {
      if (!in.field(field)) return fail("malformed or truncated");
      if (!on_field(field)) return fail("a field has the wrong wire type");
    }
    return true;
  }

  static bool sub(const WireField& f) { return f.wire == WireType::kBytes; }
  static bool number(const WireField& f, uint64_t& out) { return out = f.value, f.wire == WireType::kVarint; }
  static bool flag(const WireField& f, bool& out) { return out = f.value != 0, f.wire == WireType::kVarint; }

  bool text(const WireField& f, std::string_view& out) {
    out = f.bytes;
    return sub(f) && (valid_utf8(f.bytes) || fail("a name is not UTF-8"));
  }

  // Letters, digits, underscores; dots too where `dotted`.
  bool identifier(std::string_view name, bool dotted = false) {
    bool first = true;
    for (const char c : name) {
      const bool digit = c >= '0' && c <= '9';
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      if (!(letter || (digit && !first) || (dotted && c == '.' && !first))) return fail("'" + std::string(name) + "' is not a name");
      first = c == '.';
    }
    if (first) return fail("a name is missing or ends in a dot");
    return name.size() <= kNameBytesMax || fail("a name is longer than " + std::to_string(kNameBytesMax) + " bytes");
  }

  bool count(uint32_t& total, uint32_t max, const char* what) {
    return ++total <= max || fail("more than " + std::to_string(max) + " " + what);
  }

  bool features(std::string_view bytes, Features& out) {
    return each(bytes, [&](const WireField& f) {
      if (f.number >= 1 && f.number <= 5 && f.wire != WireType::kVarint) return false;
      switch (f.number) {
        case 1: out.explicit_presence = f.value != 2; break;
        case 2: out.closed_enums = f.value == 2; break;
        case 3: out.packed = f.value == 1; break;
        case 4: out.validate_utf8 = f.value == 2; break;
        case 5: out.delimited = f.value == 2; break;
        default: break;
      }
      return true;
    });
  }

  // Finds the options (field `options_number` of `bytes`) and gives each field of them to on_option; reads features on the way.
  template <typename F>
  bool options(std::string_view bytes, uint32_t options_number, uint32_t features_number, Features& out, F on_option) {
    return each(bytes, [&](const WireField& f) {
      if (f.number != options_number) return true;
      return sub(f) && each(f.bytes, [&](const WireField& option) {
        if (option.number == features_number) return sub(option) && features(option.bytes, out);
        return on_option(option);
      });
    });
  }
  bool options(std::string_view bytes, uint32_t options_number, uint32_t features_number, Features& out) {
    return options(bytes, options_number, features_number, out, [](const WireField&) { return true; });
  }

  bool file(std::string_view bytes, FileDescriptor& out) {
    if (!syntax(bytes, out.features) || !options(bytes, 8, 50, out.features)) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      switch (f.number) {
        case 1: return text(f, out.name);
        case 2: return text(f, out.package) && (out.package.empty() || identifier(out.package, true));
        case 4: return sub(f) && message(f.bytes, out.features, 0, out.messages.emplace_back());
        case 5: return sub(f) && enumeration(f.bytes, out.features, out.enums.emplace_back());
        case 6: return sub(f) && service(f.bytes, out.services.emplace_back());
        default: return true;
      }
    });
    return ok || fail_in(out.name);
  }

  bool fail_in(std::string_view name) {
    if (!name.empty() && error_.size() < 4 * kNameBytesMax) error_ = std::string(name.substr(0, kNameBytesMax)) + ": " + error_;
    return false;
  }

  bool syntax(std::string_view bytes, Features& out) {
    std::string_view syntax;
    uint64_t edition = 0;
    const bool ok = each(bytes, [&](const WireField& f) {
      return f.number == 12 ? text(f, syntax) : f.number == 14 ? number(f, edition) : true;
    });
    if (!ok) return false;
    if (syntax.empty() || syntax == "proto2") {
      out = {.explicit_presence = true, .closed_enums = true, .packed = false, .validate_utf8 = false};
    } else if (syntax == "proto3") {
      out = {.explicit_presence = false};
    } else if (syntax != "editions" || (edition != 1000 && edition != 1001)) {
      return fail("syntax is neither proto2, proto3, edition 2023 nor edition 2024");
    }
    return true;
  }

  bool message(std::string_view bytes, const Features& inherited, uint32_t depth, MessageDescriptor& out) {
    if (depth >= kNestingMax) return fail("message types nest deeper than " + std::to_string(kNestingMax));
    if (!count(types_, kTypesMax, "types")) return false;
    out.features = inherited;
    const auto on_option = [&](const WireField& f) { return f.number != 7 || flag(f, out.map_entry); };
    if (!options(bytes, 7, 12, out.features, on_option)) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      switch (f.number) {
        case 1: return text(f, out.name);
        case 2: return sub(f) && field(f.bytes, out.features, out);
        case 3: return sub(f) && message(f.bytes, out.features, depth + 1, out.messages.emplace_back());
        case 4: return sub(f) && enumeration(f.bytes, out.features, out.enums.emplace_back());
        case 8: return sub(f) && oneof(f.bytes, out);
        default: return true;
      }
    });
    return (ok && identifier(out.name)) || fail_in(out.name);
  }

  bool oneof(std::string_view bytes, MessageDescriptor& out) {
    if (out.oneofs.size() >= kFieldsMax) return fail("more than " + std::to_string(kFieldsMax) + " oneofs");
    auto& name = out.oneofs.emplace_back();
    return each(bytes, [&](const WireField& f) { return f.number != 1 || text(f, name); }) && identifier(name);
  }

  bool field(std::string_view bytes, const Features& inherited, MessageDescriptor& owner) {
    if (owner.fields.size() >= kFieldsMax) return fail("more than " + std::to_string(kFieldsMax) + " fields");
    if (!count(fields_, kFieldsTotalMax, "fields")) return false;
    auto& out = owner.fields.emplace_back();
    out.features = inherited;
    const auto on_option = [&](const WireField& f) {
      return f.number == 2 ? flag(f, out.packed.emplace()) : f.number != 16 || flag(f, out.debug_redact);
    };
    if (!options(bytes, 8, 21, out.features, on_option)) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      switch (f.number) {
        case 1: return text(f, out.name);
        case 3: return number(f, out.number);
        case 4: return number(f, out.label);
        case 5: return number(f, out.type);
        case 6: return text(f, out.type_name);
        case 7: return text(f, out.default_value.emplace());
        case 9: return number(f, out.oneof_index.emplace());
        case 10: return text(f, out.json_name);
        case 17: return flag(f, out.proto3_optional);
        default: return true;
      }
    });
    return (ok && identifier(out.name)) || fail_in(out.name);
  }

  bool enumeration(std::string_view bytes, const Features& inherited, EnumDescriptor& out) {
    if (!count(types_, kTypesMax, "types")) return false;
    out.features = inherited;
    if (!options(bytes, 3, 7, out.features)) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      return f.number == 1 ? text(f, out.name) : f.number == 2 ? sub(f) && value(f.bytes, out) : true;
    });
    return (ok && identifier(out.name)) || fail_in(out.name);
  }

  bool value(std::string_view bytes, EnumDescriptor& out) {
    if (!count(values_, kEnumValuesTotalMax, "enum values")) return false;
    std::string_view name;
    uint64_t value = 0;
    const bool ok = each(bytes, [&](const WireField& f) {
      return f.number == 1 ? text(f, name) : f.number == 2 ? number(f, value) : true;
    });
    if (!ok || !identifier(name)) return false;
    out.values.emplace_back(name, static_cast<int32_t>(static_cast<uint32_t>(value)));
    return true;
  }

  bool service(std::string_view bytes, ServiceDescriptor& out) {
    if (!count(services_, kServicesMax, "services")) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      return f.number == 1 ? text(f, out.name) : f.number == 2 ? sub(f) && method(f.bytes, out.methods.emplace_back()) : true;
    });
    return (ok && identifier(out.name)) || fail_in(out.name);
  }

  bool method(std::string_view bytes, MethodDescriptor& out) {
    if (!count(methods_, kMethodsTotalMax, "methods")) return false;
    const bool ok = each(bytes, [&](const WireField& f) {
      switch (f.number) {
        case 1: return text(f, out.name);
        case 2: return text(f, out.input);
        case 3: return text(f, out.output);
        case 5: return flag(f, out.client_streaming);
        case 6: return flag(f, out.server_streaming);
        default: return true;
      }
    });
    return (ok && identifier(out.name)) || fail_in(out.name);
  }

  std::string error_;
  uint32_t types_ = 0, fields_ = 0, values_ = 0, services_ = 0, methods_ = 0;
};

}  // namespace

Result<std::vector<FileDescriptor>> parse_descriptor_set(std::string_view bytes) {
  if (bytes.size() > kDescriptorBytesMax) {
    return invalid_argument("descriptor set: larger than " + std::to_string(kDescriptorBytesMax) +
                            " bytes; leave source information out");
  }
  return DescriptorParser().run(bytes);
}

}  // namespace mrpc::message
