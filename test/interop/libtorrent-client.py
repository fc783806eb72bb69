"""A plain libtorrent client: libtorrent-client.py seed|leech LISTEN FOLDER TORRENT

Its defaults, less whatever looks for peers beyond the tracker. Prints "done" when the torrent is complete, and goes on
seeding.
"""
import sys
import time

import libtorrent as lt

role, listen, folder, torrent = sys.argv[1:]
session = lt.session({
    'listen_interfaces': listen,
    'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
    'enable_outgoing_utp': False, 'enable_incoming_utp': False,
    # All hosts of a rig may have one address.
    'allow_multiple_connections_per_ip': True,
    'min_announce_interval': 1,
})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(torrent)
parameters.save_path = folder
parameters.flags &= ~lt.torrent_flags.auto_managed
parameters.flags &= ~lt.torrent_flags.paused
if role == 'seed':
    parameters.flags |= lt.torrent_flags.seed_mode
handle = session.add_torrent(parameters)
print('started', flush=True)
while not handle.status().is_seeding:
    time.sleep(0.05)
print('done', flush=True)
while True:
    time.sleep(1)
