#include "dataplane/policy/object_check.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"

namespace mrpc::dataplane {
namespace {

constexpr off_t kObjectBytesMax = 16 << 20;

// Bounds-checked reading of a file's bytes.
class Bytes {
 public:
  explicit Bytes(std::vector<char> content) : content_(std::move(content)) {}

  template <typename T>
  std::optional<T> at(uint64_t offset) const {
    if (offset > content_.size() || content_.size() - offset < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, content_.data() + offset, sizeof value);
    return value;
  }
  std::string text(uint64_t offset) const {
    if (offset >= content_.size()) return {};
    return {content_.data() + offset, ::strnlen(content_.data() + offset, content_.size() - offset)};
  }

 private:
  std::vector<char> content_;
};

Result<std::vector<char>> read_object(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info {};
  if (file.get() < 0 || ::fstat(file.get(), &info) != 0)
    return invalid_argument("cannot read the compiled policy '" + path + "': " + std::strerror(errno) + "; compile it again");
  if (!S_ISREG(info.st_mode) || info.st_size > kObjectBytesMax) return invalid_argument("'" + path + "' is no compiled policy: not a file of at most 16 MiB");
  std::vector<char> content(static_cast<size_t>(info.st_size));
  if (::pread(file.get(), content.data(), content.size(), 0) != info.st_size) return invalid_argument("'" + path + "' changed while it was read");
  return content;
}

Status check_symbols(const Bytes& file, const Elf64_Shdr& table, const Elf64_Shdr& names) {
  for (uint64_t i = 1; i * sizeof(Elf64_Sym) < table.sh_size; ++i) {
    const auto symbol = file.at<Elf64_Sym>(table.sh_offset + i * sizeof(Elf64_Sym));
    if (!symbol) return invalid_argument("its table of symbols is cut off");
    if (symbol->st_shndx == SHN_UNDEF) return invalid_argument("it refers to '" + file.text(names.sh_offset + symbol->st_name) + "', and a policy may call nothing but the daemon's host functions");
  }
  return ok_status();
}

Status check_dynamic(const Bytes& file, const Elf64_Shdr& section) {
  for (uint64_t at = 0; at < section.sh_size; at += sizeof(Elf64_Dyn)) {
    const auto entry = file.at<Elf64_Dyn>(section.sh_offset + at);
    if (!entry) return invalid_argument("its dynamic section is cut off");
    if (entry->d_tag == DT_NEEDED) return invalid_argument("it needs another library");
    if (entry->d_tag == DT_INIT || entry->d_tag == DT_INIT_ARRAY || entry->d_tag == DT_FINI || entry->d_tag == DT_FINI_ARRAY)
      return invalid_argument("it has code that runs when it is loaded");
  }
  return ok_status();
}

Status check_elf(const Bytes& file) {
  const auto head = file.at<Elf64_Ehdr>(0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_type != ET_DYN ||
      head->e_machine != EM_X86_64 || head->e_shentsize != sizeof(Elf64_Shdr))
    return invalid_argument("it is not a shared object for x86-64");
  bool has_symbols = false;
  for (uint32_t i = 0; i < head->e_shnum; ++i) {
    const auto section = file.at<Elf64_Shdr>(head->e_shoff + i * sizeof(Elf64_Shdr));
    if (!section) return invalid_argument("its table of sections is cut off");
    if (section->sh_type == SHT_DYNAMIC)
      if (Status sound = check_dynamic(file, *section); !sound) return sound;
    if (section->sh_type != SHT_DYNSYM) continue;
    has_symbols = true;
    const auto names = file.at<Elf64_Shdr>(head->e_shoff + section->sh_link * sizeof(Elf64_Shdr));
    if (!names) return invalid_argument("its table of sections is cut off");
    if (Status sound = check_symbols(file, *section, *names); !sound) return sound;
  }
  if (!has_symbols) return invalid_argument("it exports nothing");
  return ok_status();
}

}  // namespace

Status check_object(const std::string& path) {
  auto content = read_object(path);
  if (!content) return content.error();
  const Status sound = check_elf(Bytes(std::move(*content)));
  if (!sound) return invalid_argument("the compiled policy '" + path + "' cannot be used: " + sound.error().text);
  return ok_status();
}

}  // namespace mrpc::dataplane
