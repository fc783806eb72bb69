"""One libtorrent session of the swarm benchmark: libtorrent-peer.py seed|leech ADDRESS FOLDER TORRENT...

Tuned as well as its options allow for a cluster: no encryption, no uTP, no limits, quick retries. Prints "done" when all
torrents of a leech are complete, and goes on seeding.
"""
import sys
import time

import libtorrent as lt

role, address, folder, *torrents = sys.argv[1:]
session = lt.session({
    'listen_interfaces': address + ':6881',
    'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
    'enable_outgoing_utp': False, 'enable_incoming_utp': False,
    'out_enc_policy': lt.enc_policy.disabled, 'in_enc_policy': lt.enc_policy.disabled,
    'allow_multiple_connections_per_ip': True, 'unchoke_slots_limit': -1, 'mixed_mode_algorithm': 0,
    'request_queue_time': 1, 'max_out_request_queue': 1500, 'send_buffer_watermark': 3 << 20,
    'connection_speed': 100, 'min_reconnect_time': 1, 'min_announce_interval': 1,
    'peer_connect_timeout': 3, 'piece_timeout': 5, 'aio_threads': 2, 'hashing_threads': 1,
    'active_downloads': -1, 'active_seeds': -1, 'active_limit': -1,
})
handles = []
for torrent in torrents:
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~lt.torrent_flags.auto_managed
    parameters.flags &= ~lt.torrent_flags.paused
    if role == 'seed':
        parameters.flags |= lt.torrent_flags.seed_mode
    handles.append(session.add_torrent(parameters))
print('started', flush=True)
told = role == 'seed'
while True:
    time.sleep(0.02)
    if told:
        continue
    states = [handle.status() for handle in handles]
    if all(state.is_seeding for state in states):
        print('done', flush=True)
        told = True
    for handle, state in zip(handles, states):
        if not state.is_seeding and not state.num_peers:
            handle.force_reannounce()
