"""One suite for all policy programs of policies/: each NAME.yaml here says what NAME.py must do, call by call.

    cases:
      - name: what is shown
        config: {...}
        repeat: [{times: N, steps: [...]}]   # before `steps`
        steps: what happens, one after another; a step may have
            wait: 50ms                       # the clock goes on, before the rest
            request: {field: value}          # on_request; or `reply: {...}` for on_reply, `end: CODE` for on_end (after `elapsed`)
            client, server, tenant, service, method, metadata, bytes, first, last, status: of the call (defaults in forms.py)
            random: [0.5], answer: lead | wait | hit, take: true, token: {...}: what the daemon answers, if the program asks
            verdict: forward (if left out) | hold | reply | {deny: CODE, says: text} | {delay: 5ms} | {route: key}
            sets, fields, logs, stores, asks, verifies: what it did, exactly; state, state_above, state_below: what it keeps then
    mesh: calls of a real application through a real daemon that has the policy; see test_mesh.py
"""
