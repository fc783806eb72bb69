#!/bin/sh
# What aria2 calls when a torrent is complete (--on-bt-download-complete).
echo "torrent complete"
