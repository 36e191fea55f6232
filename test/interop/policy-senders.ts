/**
 * Light members of a tailnet that send whatever packet they are told to, as a program (json-lines.ts). They know WireGuard,
 * the coordinator and its relay, and nothing of disco: their packets go straight to a peer's UDP port, and what a peer
 * answers comes by way of the relay. They obey no filter and keep sending to peers that they should no longer know, so that
 * it is the receiver's judgement that is seen.
 *
 * `open {url}`; `join {name, authKey, routes}` gives id and addresses; `peer {of, name, publicKey, address, port,
 * addresses}`; `renew {of, peer}` makes a new session; `send {probes}`, each with `of` and `peer`; `sees {of}` the ids of
 * the peers that its map has.
 */
import { parsePrefix } from '../../lib/base/address.ts';
import { Slot } from '../../lib/base/slot.ts';
import { parseKeyText } from '../../lib/crypto/key-text.ts';
import { selectSuite } from '../../lib/crypto/select.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { DerpClient } from '../../lib/derp/client.ts';
import type { WireDerpNode } from '../../lib/derp/map.ts';
import { relayRequest } from '../../lib/device/relay-links.ts';
import type { Datagrams, HostStream } from '../../lib/ports.ts';
import { Tunnel } from '../../lib/wireguard/tunnel.ts';
import { host } from '../../targets/node/host.ts';
import { type Json, serveJsonLines } from './json-lines.ts';
import { until } from './lab.ts';
import { type Coordinated, LightMember } from './policy-member.ts';
import { buildPacket, type ProbePacket } from './policy-packets.ts';

const MTU = 1280;
const DERP_BYTES = 65_536;
/** Packets that are sent in one go, before others get their turn. */
const BURST = 48;
/** The relay is no UDP address; a tunnel wants one to say where a message came from. */
const FROM_RELAY = Object.freeze({ address: '127.3.3.40', port: 1 });

const suite = selectSuite([createWasmSuite]);
const senders = new Map<string, Sender>();
let coordinated: Coordinated;

class Sender {
  readonly member: LightMember;
  readonly tunnel: Tunnel;
  readonly peers = new Map<string, { id: number; config: Parameters<Tunnel['addPeer']>[1] }>();
  /** Ids of the peers in its map. */
  readonly seen = new Set<number>();
  self: Json = {};
  relay: WireDerpNode | undefined;
  readonly #slot = new Slot(MTU);
  #socket!: Datagrams;
  #derp!: DerpClient;
  #stream!: HostStream;
  readonly #out = new Uint8Array(DERP_BYTES);
  #held = 0;
  #heldStart = 0;

  constructor(member: LightMember) {
    this.member = member;
    const { nodeKey: privateKey } = member;
    const nowMs = host.clock.nowMs();
    this.tunnel = new Tunnel({ nowMs, unixMs: Date.now(), random: host.random, suite, privateKey, mtu: MTU });
    member.onMessage = text => this.#handleMap(JSON.parse(text) as Json);
  }

  /** Opens its socket and its connection to the relay that the map names. */
  async start(): Promise<void> {
    this.#socket = await host.openDatagrams(
      { port: 0 },
      {
        datagram: (buf, start, end) => this.#receive(buf, start, end),
        failed: error => process.stderr.write(`${error.message}\n`),
      },
    );
    const request = relayRequest(this.relay!)!;
    const { nodeKey: privateKey } = this.member;
    const common = { nowMs: host.clock.nowMs(), random: host.random, suite, privateKey, host: request.host };
    this.#derp = new DerpClient({ ...common, isPreferred: true });
    this.#stream = host.openStream(request, {
      opened: () => this.#pump(),
      bytes: (buf, start, end) => {
        this.#derp.handleBytes(host.clock.nowMs(), buf, start, end);
        while (this.#derp.pollEvent() !== undefined);
        while (this.#derp.pollPacket()) this.#receive(this.#derp.packet, this.#derp.packetStart, this.#derp.packetEnd);
        this.#pump();
      },
      writable: () => this.#pump(),
      ended: () => process.stderr.write('the relay has closed the connection\n'),
      failed: error => process.stderr.write(`relay: ${error.message}\n`),
    });
    await until('the relay knows this sender', 10_000, () => this.#derp.isLoggedIn, 10);
  }

  send(peer: string, probe: ProbePacket): void {
    const known = this.peers.get(peer);
    if (known === undefined) throw new RangeError(`"peer" expected a peer, got ${peer}`);
    const slot = this.#slot;
    const packet = buildPacket(probe);
    slot.reset();
    slot.buf.set(packet, slot.start);
    slot.end = slot.start + packet.length;
    const length = this.tunnel.encapsulateTo(host.clock.nowMs(), known.id, slot);
    if (length > 0) this.#socket.send(slot.buf, slot.start, slot.end, known.config.endpoint!);
    else this.turn();
  }

  /** Sends what the tunnel has to say by itself. */
  turn(): void {
    const nowMs = host.clock.nowMs();
    this.tunnel.handleTimeout(nowMs);
    while (this.tunnel.pollTransmit(nowMs, this.#slot)) {
      while (this.tunnel.pollEvent() !== undefined);
      if (this.#slot.to !== undefined)
        this.#socket.send(this.#slot.buf, this.#slot.start, this.#slot.end, this.#slot.to);
    }
    while (this.tunnel.pollEvent() !== undefined);
  }

  setPeer(name: string, config: Parameters<Tunnel['addPeer']>[1]): void {
    this.peers.set(name, { id: this.tunnel.addPeer(host.clock.nowMs(), config), config });
  }

  /** A new session with a peer that has forgotten the last one. */
  async renew(name: string): Promise<void> {
    const { id, config } = this.peers.get(name)!;
    this.tunnel.removePeer(host.clock.nowMs(), id);
    this.setPeer(name, config);
    const made = this.peers.get(name)!.id;
    const begin = () => {
      this.tunnel.connect(host.clock.nowMs(), made);
      this.turn();
      return this.tunnel.peerStatus(made).hasSession;
    };
    await until(`a session with ${name}`, 15_000, begin, 20);
  }

  #receive(buf: Uint8Array, start: number, end: number): void {
    this.tunnel.decapsulate(host.clock.nowMs(), buf, start, end, FROM_RELAY);
    this.turn();
  }

  #handleMap(message: Json): void {
    if (message.Node !== undefined) this.self = message.Node as Json;
    for (const region of Object.values((message.DERPMap?.Regions ?? {}) as Record<string, { Nodes: WireDerpNode[] }>))
      this.relay ??= region.Nodes[0];
    if (message.Peers !== undefined) this.seen.clear();
    for (const peer of [...(message.Peers ?? []), ...(message.PeersChanged ?? [])]) this.seen.add(peer.ID as number);
    for (const id of message.PeersRemoved ?? []) this.seen.delete(id as number);
  }

  #pump(): void {
    for (;;) {
      if (this.#held === 0) {
        this.#heldStart = 0;
        this.#held = this.#derp.pollBytes(this.#out, 0, this.#out.length);
        if (this.#held === 0) return;
      }
      const taken = this.#stream.write(this.#out, this.#heldStart, this.#heldStart + this.#held);
      this.#heldStart += taken;
      this.#held -= taken;
      if (this.#held > 0) return;
    }
  }
}

async function open({ url }: Json): Promise<object> {
  const { publicKey } = (await (await fetch(`${url}/key?v=113`)).json()) as { publicKey: string };
  const serverKey = parseKeyText('mkey', publicKey)!;
  coordinated = { url: new URL(url as string), serverKey, suite, random: host.random };
  setInterval(() => {
    for (const sender of senders.values()) sender.turn();
  }, 50);
  return {};
}

async function join({ name, authKey, routes }: Json): Promise<object> {
  const member = new LightMember(coordinated);
  const sender = new Sender(member);
  await member.connect();
  await member.join(authKey as string, name as string, routes as string[]);
  await member.open();
  await sender.start();
  senders.set(name as string, sender);
  return { id: sender.self.ID, addresses: sender.self.Addresses };
}

async function send(probes: readonly (ProbePacket & { of: string; peer: string })[]): Promise<object> {
  for (let at = 0; at < probes.length; at += BURST) {
    for (const probe of probes.slice(at, at + BURST)) senders.get(probe.of)!.send(probe.peer, probe);
    await new Promise(resolve => setImmediate(resolve));
  }
  return {};
}

function peer({ of, name, publicKey, address, port, addresses }: Json): object {
  const allowedIPs = (addresses as string[]).map(text => parsePrefix(text)!);
  const key = parseKeyText('nodekey', publicKey as string)!;
  const endpoint = { address: address as string, port: port as number };
  senders.get(of as string)!.setPeer(name as string, { publicKey: key, endpoint, allowedIPs, roams: false });
  return {};
}

serveJsonLines(async (op, args) => {
  if (op === 'open') return open(args);
  if (op === 'join') return join(args);
  if (op === 'peer') return peer(args);
  if (op === 'send') return send(args.probes as (ProbePacket & { of: string; peer: string })[]);
  if (op === 'sees') return { ids: [...senders.get(args.of as string)!.seen] };
  if (op === 'renew') {
    await senders.get(args.of as string)!.renew(args.peer as string);
    return {};
  }
  throw new RangeError(`"op" expected open, join, peer, send, sees or renew, got ${op}`);
});
