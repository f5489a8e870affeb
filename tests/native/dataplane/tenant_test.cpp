// On whose behalf a call is made: what apps may claim, what servers are told, and what travels between daemons.
#include "dataplane/peers.h"
#include "dataplane/registrar.h"

namespace mrpc::dataplane::testing {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::shared_ptr<TenantGrants> granted(TenantGrants::Names names) {
  auto grants = std::make_shared<TenantGrants>();
  grants->set(std::move(names));
  return grants;
}

struct TenantRig {
  explicit TenantRig(TenantGrants::Names names = {}) : grants(granted(std::move(names))), app(3, abi::Role::kClient, "gateway", rig.config, grants) {
    rig.add(app);
    rig.bind(app, rig.schema);
    rig.others.push_back(3);
  }
  // What the server hears of a call with this metadata; empty when it hears nothing, and `answer` tells why.
  Pairs heard(std::vector<shm::MetadataPair> metadata) {
    app.metadata = std::move(metadata);
    app.open(Rig::kHandles, ++calls, rig.payload("x"));
    rig.settle();
    auto request = rig.server.take();
    if (request) {
      rig.server.say(SlotKind::kStatus, request->slot.call_id, request->image);
      rig.settle();
    }
    while (auto arrival = app.take())
      if (arrival->kind() == SlotKind::kStatus) answer = *arrival;
    return request ? request->metadata : Pairs{};
  }

  Rig rig;
  std::shared_ptr<TenantGrants> grants;
  App app;
  Arrival answer;
  uint64_t calls = 0;
};

}  // namespace

TEST_CASE("tenant: by default the app's own") {
  TenantRig t;
  CHECK(t.heard({}) == Pairs{{"mrpc-app", "gateway"}, {"mrpc-tenant", "gateway"}});
  CHECK(t.heard({{"k", "v"}}) == Pairs{{"k", "v"}, {"mrpc-app", "gateway"}, {"mrpc-tenant", "gateway"}});
}

TEST_CASE("tenant: one that was granted is told to the server, once") {
  TenantRig t({"acme"});
  CHECK(t.heard({{"mrpc-tenant", "acme"}}) == Pairs{{"mrpc-tenant", "acme"}, {"mrpc-app", "gateway"}});
  CHECK(t.heard({{"a", "1"}, {"mrpc-tenant", "acme"}, {"b", "2"}}) == Pairs{{"a", "1"}, {"mrpc-tenant", "acme"}, {"b", "2"}, {"mrpc-app", "gateway"}});
  CHECK(t.heard({{"mrpc-tenant", "gateway"}}) == Pairs{{"mrpc-app", "gateway"}, {"mrpc-tenant", "gateway"}});
}

TEST_CASE("tenant: one that was not granted is refused before anybody hears of the call") {
  TenantRig t({"acme"});
  for (const char* forged : {"globex", "acme2", "acm", "Acme", "", "*", "client-app", "gateway@far", "acme\n"}) {
    CAPTURE(forged);
    const bool empty = *forged == '\0';
    const Pairs heard = t.heard({{"mrpc-tenant", forged}});
    if (empty) {
      CHECK(heard == Pairs{{"mrpc-app", "gateway"}, {"mrpc-tenant", "gateway"}});  // no name at all is no claim
      continue;
    }
    CHECK(heard.empty());
    CHECK(t.answer.code() == StatusCode::kPermissionDenied);
    CHECK(t.answer.text.find("--act-as") != std::string::npos);
  }
}

TEST_CASE("tenant: an app without a registered name acts for itself alone") {
  TenantRig t;
  t.rig.client.metadata = {{"mrpc-tenant", "gateway"}};
  t.rig.client.open(Rig::kHandles, 1, t.rig.payload("x"));
  CHECK(t.rig.reply().code() == StatusCode::kPermissionDenied);
}

TEST_CASE("tenant: two claims are refused, and other reserved keys do not get through") {
  TenantRig t({"acme", "globex"});
  CHECK(t.heard({{"mrpc-tenant", "acme"}, {"mrpc-tenant", "globex"}}).empty());
  CHECK(t.answer.code() == StatusCode::kInvalidArgument);
  CHECK(t.heard({{"mrpc-tenant", "gateway"}, {"mrpc-tenant", "acme"}}).empty());
  CHECK(t.heard({{"mrpc-app", "root"}, {"mrpc-tenant", "acme"}, {"mrpc-x", "1"}}) == Pairs{{"mrpc-tenant", "acme"}, {"mrpc-app", "gateway"}});
  CHECK(t.heard({{"mrpc-app", "root"}}) == Pairs{{"mrpc-app", "gateway"}, {"mrpc-tenant", "gateway"}});
}

TEST_CASE("tenant: a grant of any is of any name, and what is taken back is taken back at once") {
  TenantRig t({"*"});
  CHECK_FALSE(t.heard({{"mrpc-tenant", "whoever.it-is"}}).empty());
  CHECK(t.heard({{"mrpc-tenant", "not a name"}}).empty());
  CHECK(t.answer.code() == StatusCode::kPermissionDenied);
  t.grants->set({});
  CHECK(t.heard({{"mrpc-tenant", "whoever.it-is"}}).empty());
}

TEST_CASE("tenant: it travels to the server's daemon, the default under the name by which the caller is known there") {
  Peers peers;
  App gateway(3, abi::Role::kClient, "gateway", peers.near.config, granted({"acme"}));
  peers.near.add(gateway);
  peers.near.bind(gateway, peers.near.schema);
  peers.near.others.push_back(3);
  const auto heard = [&](std::vector<shm::MetadataPair> metadata) {
    static uint64_t calls = 0;
    gateway.metadata = std::move(metadata);
    gateway.open(Rig::kHandles, ++calls, peers.near.payload("x"));
    peers.settle();
    const auto request = peers.far.server.take();
    return request ? request->metadata : Pairs{};
  };
  CHECK(heard({{"mrpc-tenant", "acme"}}) == Pairs{{"mrpc-tenant", "acme"}, {"mrpc-app", "gateway@near"}});
  CHECK(heard({}) == Pairs{{"mrpc-app", "gateway@near"}, {"mrpc-tenant", "gateway@near"}});
  CHECK(heard({{"mrpc-tenant", "globex"}}).empty());
}

TEST_CASE("registrar: grants belong to the app that holds the name, and follow what operators change") {
  Registrar registrar;
  CHECK(registrar.grants_of("uid:1000") == nullptr);
  const auto early = registrar.grants_of("gateway");  // an application that a successor daemon took over knows its name before the operators' list
  CHECK_FALSE(early->allows("acme"));
  registrar.set_apps({{"gateway", 1, {}, {"acme"}}, {"other", 1, {}, {}}});
  const auto grants = registrar.grants_of("gateway");
  CHECK(grants == early);
  CHECK(grants->allows("acme"));
  CHECK_FALSE(grants->allows("globex"));
  CHECK_FALSE(registrar.grants_of("other")->allows("acme"));
  registrar.set_apps({{"gateway", 1, {}, {"globex"}}});
  CHECK(grants->allows("globex"));
  CHECK_FALSE(grants->allows("acme"));
  registrar.set_apps({});
  CHECK_FALSE(grants->allows("globex"));
  registrar.set_apps({{"gateway", 1, {}, {"acme"}}});
  CHECK(grants->allows("acme"));
}

}  // namespace mrpc::dataplane::testing
