"""Hot restart: a new daemon takes the place of a running one, and applications and peers notice a pause at most.

THE PROTOCOL. The *predecessor* listens on operator/takeover.sock (mode 0600 in a directory of mode 0700); the *successor*, `mrpcd
--takeover`, connects. Each refuses the other unless SO_PEERCRED says that it is of its own uid, or root. SOCK_SEQPACKET, a JSON object
a packet, descriptors beside it.

    1  successor    hello    versions of the state that it reads, its release
    2  predecessor  welcome  the version chosen, its settings, the paths of its configuration, how often it was taken over before, the
                             schemas of the services on offer
    3  successor             prepares: configuration, store, policies, threads; nothing that is shared is touched
       successor    ready
    4  predecessor           FREEZES: shards, attach thread and control plane stand still between two turns, work under way has come to rest
       predecessor  state    the data plane's state, its own listeners and lock; then
       predecessor  fds      all descriptors, so many a packet
    5  successor             maps and rebuilds everything; still writes to no shared memory and no socket
       successor    taken    THE MOMENT: sending this is the hand-over
    6  successor             starts its threads, serves
       predecessor           ends at once, and touches nothing on its way out

Either may say `refused` with a text instead, and both go as if nothing had been.

WHO OWNS applications, calls and sockets: the predecessor until `taken` has been sent, the successor afterwards; never both. A packet
that was sent stays readable, whatever becomes of its sender, so the kernel decides every race: a predecessor that will not wait longer
shuts its end down *first* and reads what is queued *then*. Either `taken` is there, and the successor owns; or it can no longer be
sent, the successor finds that out and ends, and the predecessor thaws. What was frozen has not changed meanwhile.

DEATH of the successor in 1 to 5: the predecessor reads the end of the socket, thaws, serves on. In 6: that of any daemon.
Death of the predecessor in 1 to 4: the successor ends with a message; there is no daemon, as after any death. In 5, with the state
all in: `taken` cannot be sent, and the successor looks at the predecessor's pidfd: dead, so nobody else owns it: it goes on. Alive: it ends.

A SUCCESSOR THAT HANGS costs the others FROZEN_MAX_S of pause, once; then the predecessor serves on. Two at once: the second is refused.

VERSIONS: the state's (native/dataplane/takeover_state.h): the newer of those that both know, else refused in 2, before anything stood still.
JSON objects may gain members; unknown ones are ignored.
"""
