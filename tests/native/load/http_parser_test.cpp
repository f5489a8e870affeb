#include "load/http_parser.h"

#include <doctest/doctest.h>

using mrpc::load::HttpParser;

namespace {

// Feeds `text` in pieces of `step` bytes; what is left over after the reply comes back.
std::string feed(HttpParser& parser, std::string_view text, size_t step, bool& ok) {
  std::string rest;
  ok = true;
  for (size_t at = 0; at < text.size() && ok; at += step) {
    std::string_view piece = text.substr(at, step);
    if (!parser.done()) ok = parser.consume(piece).ok();
    rest += piece;
  }
  return rest;
}

}  // namespace

TEST_CASE("replies end where HTTP says, however they are cut") {
  struct Case { const char* text; uint16_t status; bool keep_alive; };
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, true},
      {"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\nConnection: close\r\n\r\n", 404, false},
      {"HTTP/1.1 204 No Content\r\n\r\n", 204, true},
      {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n", 200, true},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok", 201, true},
  };
  for (const Case& c : cases) {
    for (size_t step = 1; step < 40; ++step) {
      HttpParser parser;
      parser.reset(false);
      bool ok = false;
      CHECK(feed(parser, std::string(c.text) + "NEXT", step, ok) == "NEXT");
      CHECK(ok);
      CHECK(parser.done());
      CHECK(parser.status() == c.status);
      CHECK(parser.keep_alive() == c.keep_alive);
    }
  }
}

TEST_CASE("a reply to HEAD has no body; one without a length ends with its connection") {
  HttpParser parser;
  bool ok = false;
  parser.reset(true);
  CHECK(feed(parser, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 7, ok).empty());
  CHECK(parser.done());
  parser.reset(false);
  feed(parser, "HTTP/1.1 200 OK\r\n\r\nwhatever", 7, ok);
  CHECK_FALSE(parser.done());
  CHECK(parser.ends_with_connection());
}

TEST_CASE("what is not HTTP is an error, and never eats memory") {
  for (const std::string& text : {std::string("SSH-2.0-x\r\n"), std::string("HTTP/1.1 99 x\r\n"), std::string("HTTP/1.1 200 OK\r\nbad\r\n"),
                                  std::string("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n"), std::string(200'000, 'a'),
                                  std::string("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n"),
                                  std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    HttpParser parser;
    parser.reset(false);
    bool ok = true;
    feed(parser, text, 1000, ok);
    CHECK_FALSE(ok);
  }
}
