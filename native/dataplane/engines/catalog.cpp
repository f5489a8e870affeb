#include "dataplane/engine.h"
#include "dataplane/engines/access_control.h"
#include "dataplane/engines/rate_limit.h"

namespace mrpc::dataplane {

EngineCatalog native_engines() {
  return {
      {"rate_limit", make_rate_limit},
      {"access_control", make_access_control},
  };
}

}  // namespace mrpc::dataplane
