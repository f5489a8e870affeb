#include "load/null_http2.h"

#ifndef MRPC_LOAD_HTTP2

namespace mrpc::load {
std::unique_ptr<NullHttp2> NullHttp2::create() { return nullptr; }
}  // namespace mrpc::load

#else

#include <nghttp2/nghttp2.h>

#include <cstring>

namespace mrpc::load {
namespace {

nghttp2_nv header(std::string_view name, std::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

// An empty message is its prefix alone; the trailers follow it.
ssize_t reply_body(nghttp2_session* session, int32_t stream, uint8_t* out, size_t, uint32_t* flags, nghttp2_data_source*, void*) {
  constexpr size_t kPrefixBytes = 5;
  std::memset(out, 0, kPrefixBytes);
  *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
  const nghttp2_nv trailer = header("grpc-status", "0");
  nghttp2_submit_trailer(session, stream, &trailer, 1);
  return kPrefixBytes;
}

int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void*) {
  const bool request_ended = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
  if (!request_ended) return 0;
  const nghttp2_nv headers[] = {header(":status", "200"), header("content-type", "application/grpc")};
  nghttp2_data_provider body{{}, &reply_body};
  return nghttp2_submit_response(session, frame->hd.stream_id, headers, 2, &body);
}

class Http2 final : public NullHttp2 {
 public:
  Http2() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &on_frame);
    nghttp2_session_server_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 10'000};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &settings, 1);
  }
  ~Http2() override { nghttp2_session_del(session_); }

  bool answer(std::string_view input, std::string& output) override {
    if (nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(input.data()), input.size()) < 0) return false;
    const uint8_t* data = nullptr;
    ssize_t n = 0;
    while ((n = nghttp2_session_mem_send(session_, &data)) > 0) output.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
    return n == 0;
  }

 private:
  nghttp2_session* session_ = nullptr;
};

}  // namespace

std::unique_ptr<NullHttp2> NullHttp2::create() { return std::make_unique<Http2>(); }

}  // namespace mrpc::load

#endif
