// The HTTP/2 half of the null server: each request is answered by an empty gRPC message and status OK.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace mrpc::load {

class NullHttp2 {
 public:
  // Null when built without libnghttp2.
  static std::unique_ptr<NullHttp2> create();
  virtual ~NullHttp2() = default;
  // Takes what came, appends what goes out. False: the connection is of no more use.
  virtual bool answer(std::string_view input, std::string& output) = 0;
};

}  // namespace mrpc::load
