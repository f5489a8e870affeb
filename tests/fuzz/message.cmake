foreach(name message_schema message_verify message_transcode)
  mrpc_fuzz(${name} ${name}.cpp mrpc_message)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/native)
endforeach()
