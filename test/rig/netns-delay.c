/*
 * netns-delay DELAY_US [LOSS_PPM [SEED]]
 * Takes the packets of NFQUEUE 0 of its network namespace, holds each for DELAY_US, then lets it pass; or drops it,
 * LOSS_PPM times in a million. For kernels without netem. A GSO packet is one packet here: a loss of 1 % takes up to
 * 45 frames at once, which is harder on a connection than 1 % on a wire.
 * gcc -O2 netns-delay.c -o netns-delay -lnetfilter_queue
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define RING 65536u /* packets held at most */

static struct { uint32_t id; uint64_t due; } ring[RING];
static unsigned head, tail;
static uint64_t delay_ns;
static uint32_t loss_ppm;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static int on_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data, void *context) {
  (void)message;
  (void)context;
  struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);
  uint32_t id = ntohl(header->packet_id);
  int lost = loss_ppm && (uint32_t)(random() % 1000000) < loss_ppm;
  if (lost || head - tail >= RING) return nfq_set_verdict(queue, id, NF_DROP, 0, 0);
  ring[head % RING].id = id;
  ring[head % RING].due = now_ns() + delay_ns;
  head++;
  return 0;
}

int main(int count, char **words) {
  if (count < 2) {
    fprintf(stderr, "netns-delay DELAY_US [LOSS_PPM [SEED]]\n");
    return 2;
  }
  delay_ns = strtoull(words[1], 0, 10) * 1000;
  loss_ppm = count > 2 ? (uint32_t)strtoul(words[2], 0, 10) : 0;
  srandom(count > 3 ? (unsigned)strtoul(words[3], 0, 10) : 1);
  struct nfq_handle *handle = nfq_open();
  struct nfq_q_handle *queue = handle ? nfq_create_queue(handle, 0, on_packet, 0) : 0;
  if (!queue) {
    perror("NFQUEUE 0");
    return 1;
  }
  nfq_set_mode(queue, NFQNL_COPY_META, 0);
  nfq_set_queue_maxlen(queue, 20000);
  nfq_set_queue_flags(queue, NFQA_CFG_F_GSO, NFQA_CFG_F_GSO);
  int fd = nfq_fd(handle), size = 8 << 20, on = 1;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
  puts("ready");
  fflush(stdout);
  static char buffer[65536];
  struct pollfd poll_for = {fd, POLLIN, 0};
  for (;;) {
    uint64_t now = now_ns();
    for (; tail != head && ring[tail % RING].due <= now; tail++) nfq_set_verdict(queue, ring[tail % RING].id, NF_ACCEPT, 0, 0);
    struct timespec wait = {1, 0};
    if (tail != head) {
      uint64_t left = ring[tail % RING].due > now ? ring[tail % RING].due - now : 0;
      wait.tv_sec = (time_t)(left / 1000000000ull);
      wait.tv_nsec = (long)(left % 1000000000ull);
    }
    if (ppoll(&poll_for, 1, &wait, 0) <= 0) continue;
    ssize_t length;
    while ((length = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) nfq_handle_packet(handle, buffer, (int)length);
  }
}
