/**
 * Stock tailscaled with a device of the kernel, as the receiver of the policy cases: what its filter lets in is seen on
 * that device, what it refuses in its own counters, and which rules it holds it says itself.
 */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { WireFilterRule } from '../../lib/filter/rule.ts';
import type { Json } from './json-lines.ts';
import { until } from './lab.ts';
import { readPacket } from './policy-packets.ts';
import { StockNode } from './stock-tailscale.ts';
import type { TailnetNet } from './tailscale-net.ts';

const TUN = 'tailscale0';
const NO_ROUTER = '10.77.0.254';
const PCAP_HEAD_BYTES = 24;
const PCAP_RECORD_BYTES = 16;
const READ_BYTES = 1 << 20;

/** One such node. */
export class StockReceiver {
  readonly node: StockNode;
  readonly #file: string;
  #open: number | undefined;
  #rest: Buffer = Buffer.alloc(0);
  readonly #buffer = Buffer.alloc(READ_BYTES);

  private constructor(node: StockNode) {
    this.node = node;
    this.#file = join(node.lab.directory(), 'accepted.pcap');
  }

  static async make(net: TailnetNet, name: string): Promise<StockReceiver> {
    return new StockReceiver(await StockNode.make(net, name, 'tailscaled', { tun: TUN }));
  }

  /**
   * Joins, and begins to record what comes in. The namespace gets a default route, to a router that is not there: without
   * one tailscaled takes each change of its own routes for a change of networks, and connects to everything anew.
   */
  async up(loginServer: string, authKey: string, extra: readonly string[] = []): Promise<void> {
    await this.node.party.space.ip('route', 'add', 'default', 'via', NO_ROUTER);
    const flags = ['--netfilter-mode=off', '--accept-dns=false', '--accept-routes', ...extra];
    await this.node.up({ loginServer, authKey, extra: flags });
    const filter = ['-Q', 'in', '--immediate-mode', '-U', '-s', '128', '-Z', 'root', '-B', '8192'];
    this.node.lab.start(this.node.party.space, ['tcpdump', '-n', '-i', TUN, ...filter, '-w', this.#file], {
      name: `tcpdump ${this.node.name}`,
    });
    await until('tcpdump records', 10_000, () => existsSync(this.#file));
  }

  /** Numbers of the probes that came out of its device since the last call. */
  takeAccepted(): number[] {
    this.#open ??= openSync(this.#file, 'r');
    const out: number[] = [];
    for (;;) {
      const length = readSync(this.#open, this.#buffer, 0, READ_BYTES, null);
      if (length === 0) return out;
      this.#rest = Buffer.concat([this.#rest, this.#buffer.subarray(0, length)]);
      this.#read(out);
    }
  }

  #isPastHead = false;

  #read(out: number[]): void {
    let at = 0;
    if (!this.#isPastHead) {
      if (this.#rest.length < PCAP_HEAD_BYTES) return;
      at = PCAP_HEAD_BYTES;
      this.#isPastHead = true;
    }
    for (;;) {
      if (this.#rest.length - at < PCAP_RECORD_BYTES) break;
      const length = this.#rest.readUInt32LE(at + 8);
      if (this.#rest.length - at < PCAP_RECORD_BYTES + length) break;
      const found = readPacket(this.#rest.subarray(at + PCAP_RECORD_BYTES, at + PCAP_RECORD_BYTES + length));
      if (found !== undefined) out.push(found.id);
      at += PCAP_RECORD_BYTES + length;
    }
    this.#rest = this.#rest.subarray(at);
  }

  /**
   * Waits until it holds these rules and knows these peers, no others, and works by them. Fails with both after
   * `timeoutMs`.
   */
  async obeys(rules: readonly WireFilterRule[], peers: Iterable<number>, timeoutMs = 10_000): Promise<void> {
    const wanted = `${canonical(rules)} ${[...peers].sort((a, b) => a - b)}`;
    let held = '';
    const isHeld = async () => {
      const { PacketFilterRules, Peers } = JSON.parse(
        await this.node.local('debug?action=current-netmap', 'POST'),
      ) as Json;
      const ids = ((Peers ?? []) as Json[]).map(peer => peer.ID as number);
      held = `${canonical(PacketFilterRules ?? [])} ${ids.sort((a, b) => a - b)}`;
      return held === wanted;
    };
    try {
      await until('the rules', timeoutMs, isHeld, 15);
    } catch {
      throw new Error(
        `${this.node.name} does not hold the rules that are meant for it:\n${held}\ninstead of\n${wanted}`,
      );
    }
    // Preferences are given out under the same lock under which new rules and peers are put in force.
    await this.node.local('prefs');
  }

  /** How many packets its filter has refused so far. */
  async refused(): Promise<number> {
    const text = await this.node.local('usermetrics');
    return Number(/^tailscaled_inbound_dropped_packets_total\{reason="acl"\} (\d+)/m.exec(text)?.[1] ?? 0);
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open);
  }
}

/** Rules as a text that is equal for equal rules: fields in one order, lists that are empty left out. */
function canonical(rules: readonly WireFilterRule[]): string {
  const plain = rules.map(({ SrcIPs, DstPorts, IPProto, CapGrant }) => ({
    from: SrcIPs,
    to: (DstPorts ?? []).map(({ IP, Ports }) => `${IP}:${Ports.First}-${Ports.Last}`),
    about: IPProto ?? [],
    grants: (CapGrant ?? []).map(({ Dsts, CapMap }) => [Dsts, Object.entries(CapMap ?? {}).sort()]),
  }));
  return JSON.stringify(plain);
}
