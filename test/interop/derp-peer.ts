/**
 * Our relay client (lib/derp) over Node's streams, as a program: `open {url-host, address, port, caFile | pin}` gives its
 * key, `send {to, bytes, seed}`, `receive` the oldest packet that came, `ping` the time to the relay and back.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fromHex, toHex } from '../../lib/base/bytes.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { DerpClient } from '../../lib/derp/client.ts';
import type { DerpClientEvent } from '../../lib/derp/client-types.ts';
import type { HostStream } from '../../lib/ports.ts';
import { host } from '../../targets/node/host.ts';
import { type Json, serveJsonLines } from './json-lines.ts';
import { Queue } from './kernel-face.ts';
import { patternBytes } from './pattern.ts';

class Link {
  readonly client: DerpClient;
  readonly packets = new Queue<{ bytes: number; sha256: string; from: string }>();
  readonly pongs = new Queue<number>();
  readonly opened: Promise<DerpClientEvent>;
  serverKey: Uint8Array | undefined;
  #stream!: HostStream;
  readonly #out = new Uint8Array(65_536);
  #held = 0;
  #heldStart = 0;
  #settle!: { done: (event: DerpClientEvent) => void; failed: (error: Error) => void };

  constructor(args: Json) {
    this.client = new DerpClient({
      nowMs: host.clock.nowMs(),
      random: host.random,
      suite: createNobleSuite(),
      privateKey: SecretKey.generate(host.random),
      host: args.host,
      isPreferred: true,
    });
    this.opened = new Promise((done, failed) => {
      this.#settle = { done, failed };
    });
    const trust =
      args.pin === undefined ? { authorities: readFileSync(args.caFile, 'utf8') } : { pin: fromHex(args.pin)! };
    const { address, port } = args;
    this.#stream = host.openStream(
      { host: args.host, port, addresses: [address], tls: { serverName: args.host, ...trust } },
      {
        opened: () => this.#pump(),
        bytes: (buf, start, end) => {
          this.client.handleBytes(host.clock.nowMs(), buf, start, end);
          this.#settleEvents();
          this.#pump();
        },
        writable: () => this.#pump(),
        ended: () => {
          this.client.handleEnd();
          this.#settleEvents();
        },
        failed: error => this.#settle.failed(error),
      },
    );
  }

  send(to: Uint8Array, data: Uint8Array): boolean {
    const result = this.client.send(host.clock.nowMs(), to, data, 0, data.length);
    this.#pump();
    return result;
  }

  ping(): Promise<number> {
    this.client.ping(host.clock.nowMs());
    this.#pump();
    return this.pongs.take();
  }

  #settleEvents(): void {
    for (let event = this.client.pollEvent(); event !== undefined; event = this.client.pollEvent()) {
      if (event.type === 'connected') {
        this.serverKey = event.serverKey;
        this.#settle.done(event);
      } else if (event.type === 'pong') this.pongs.push(event.rttMs);
      else if (event.type === 'closed') this.#settle.failed(event.error);
    }
    const { client } = this;
    while (client.pollPacket()) {
      const packet = client.packet.subarray(client.packetStart, client.packetEnd);
      const from = toHex(client.packet.subarray(client.packetSource, client.packetSource + 32));
      this.packets.push({ bytes: packet.length, sha256: createHash('sha256').update(packet).digest('hex'), from });
    }
  }

  #pump(): void {
    for (;;) {
      if (this.#held === 0) {
        this.#heldStart = 0;
        this.#held = this.client.pollBytes(this.#out, 0, this.#out.length);
        if (this.#held === 0) return;
      }
      const taken = this.#stream.write(this.#out, this.#heldStart, this.#heldStart + this.#held);
      this.#heldStart += taken;
      this.#held -= taken;
      if (this.#held > 0) return;
    }
  }
}

let link: Link | undefined;

serveJsonLines(async (op, args) => {
  if (op === 'open') {
    link = new Link(args);
    await link.opened;
    return { publicKey: toHex(link.client.publicKey), serverKey: toHex(link.serverKey!) };
  }
  if (link === undefined) throw new Error('not open yet');
  if (op === 'send') return { isTaken: link.send(fromHex(args.to)!, patternBytes(args.seed, args.bytes)) };
  if (op === 'receive') return link.packets.take();
  if (op === 'ping') return { ms: await link.ping() };
  throw new RangeError(`"op" expected open, send, receive or ping, got ${op}`);
});
