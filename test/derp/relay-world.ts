/** A relay with clients in front of it on a clock that is moved by hand; streams are carried in pieces of any size. */
import { toHex } from '../../lib/base/bytes.ts';
import { DerpClient } from '../../lib/derp/client.ts';
import type { DerpClientEvent } from '../../lib/derp/client-types.ts';
import { FRAME_CLIENT_INFO } from '../../lib/derp/frame.ts';
import { clientInfoFields, sealedFrame } from '../../lib/derp/login.ts';
import { DerpRelay } from '../../lib/derp/relay.ts';
import type { RelayEvent, RelayLimits } from '../../lib/derp/relay-types.ts';
import { boxKeyOf, type Frame, framesOf, noble, publicOf, secretOf, seededRandom } from './support.ts';

/** The relay's secret is 32 times this. */
export const RELAY_SECRET = 0x55;

/** A client whose stream is carried by the world. */
export interface WorldClient {
  readonly id: number;
  readonly machine: DerpClient;
  readonly tailnet: string;
  /** `source first byte:packet` of what came. */
  readonly packets: string[];
  readonly events: DerpClientEvent[];
  /** Every byte that the relay sent to it. */
  readonly raw: Uint8Array[];
  /** While true the stream takes nothing from the relay. */
  isFrozen: boolean;
}

/** The world. */
export class RelayWorld {
  nowMs = 10_000;
  readonly relay: DerpRelay;
  readonly clients = new Map<number, WorldClient>();
  /** Events of the relay other than admissions of known clients. */
  readonly events: RelayEvent[] = [];
  readonly #pieceBytes: number;
  readonly #waiting = new Set<number>();

  constructor(limits: Partial<RelayLimits> = {}, pieceBytes = 65_536) {
    this.relay = new DerpRelay({ random: seededRandom(7), suite: noble, privateKey: secretOf(RELAY_SECRET), limits });
    this.#pieceBytes = pieceBytes;
  }

  /** A client with the secret 32 times `byte`, connected and admitted. */
  connect(byte: number, tailnet = 'a'): WorldClient {
    const id = this.relay.open(this.nowMs);
    if (id < 0) throw new Error('the relay is full');
    const machine = new DerpClient({
      nowMs: this.nowMs,
      random: seededRandom(byte),
      suite: noble,
      privateKey: secretOf(byte),
      host: undefined,
    });
    const client: WorldClient = { id, machine, tailnet, packets: [], events: [], raw: [], isFrozen: false };
    this.clients.set(id, client);
    this.settle();
    return client;
  }

  /** A stream without a client, for bytes by hand. Says what the relay sends with {@link take}. */
  open(): number {
    return this.relay.open(this.nowMs);
  }

  /** Bytes by hand. */
  feed(id: number, bytes: Uint8Array): number {
    const result = this.relay.handleBytes(this.nowMs, id, bytes, 0, bytes.length);
    this.settle();
    return result;
  }

  /** A valid login of the secret 32 times `byte`, by hand. */
  login(byte: number, info: object = clientInfoFields(true)): Uint8Array {
    const key = boxKeyOf(byte, RELAY_SECRET);
    return sealedFrame(noble, seededRandom(byte), FRAME_CLIENT_INFO, publicOf(byte), key, info);
  }

  /** All frames that wait for a stream. */
  take(id: number): Frame[] {
    const out = new Uint8Array(200_000);
    let length = 0;
    for (;;) {
      const more = this.relay.pollBytes(this.nowMs, id, out, length, out.length);
      if (more === 0) return framesOf(out.subarray(0, length));
      length += more;
    }
  }

  /** A packet between clients of this world, not yet carried on. */
  send(from: WorldClient, to: Uint8Array, packet: Uint8Array): void {
    from.machine.send(this.nowMs, to, packet, 0, packet.length);
  }

  /** Carries everything until nothing moves. */
  settle(): void {
    for (let isMoving = true; isMoving; ) {
      isMoving = false;
      for (const client of this.clients.values()) if (this.#carryUp(client)) isMoving = true;
      for (let id = this.relay.pollReady(); id >= 0; id = this.relay.pollReady()) this.#waiting.add(id);
      for (const id of this.#waiting) if (this.#carryDown(id)) isMoving = true;
      for (let event = this.relay.pollEvent(); event !== undefined; event = this.relay.pollEvent()) {
        isMoving = true;
        this.#handle(event);
      }
    }
  }

  /** Moves the clock to `nowMs`, stopping at every deadline. */
  advance(ms: number): void {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const nextMs = Math.max(this.nowMs, this.relay.nextTimeout());
      if (nextMs > untilMs) break;
      this.nowMs = nextMs;
      this.relay.handleTimeout(nextMs);
      this.settle();
    }
    this.nowMs = untilMs;
  }

  /** Ends a client's stream from its side. */
  leave(client: WorldClient): void {
    this.clients.delete(client.id);
    this.relay.handleEnd(this.nowMs, client.id);
    this.settle();
  }

  #handle(event: RelayEvent): void {
    const client = this.clients.get(event.id);
    if (event.type === 'admission' && client !== undefined) {
      this.relay.admit(this.nowMs, event.id, client.tailnet);
      return;
    }
    this.events.push(event);
    if (event.type !== 'close') return;
    client?.machine.handleEnd();
    this.#waiting.delete(event.id);
  }

  #carryUp(client: WorldClient): boolean {
    const buf = new Uint8Array(Math.min(this.#pieceBytes, 65_536));
    let isMoving = false;
    for (;;) {
      const length = client.machine.pollBytes(buf, 0, buf.length);
      if (length === 0) return isMoving;
      isMoving = true;
      if (this.relay.handleBytes(this.nowMs, client.id, buf, 0, length) < 0) return isMoving;
    }
  }

  #carryDown(id: number): boolean {
    const client = this.clients.get(id);
    if (client === undefined || client.isFrozen) return false;
    const buf = new Uint8Array(Math.min(this.#pieceBytes, 65_536));
    let isMoving = false;
    for (;;) {
      const length = this.relay.pollBytes(this.nowMs, id, buf, 0, buf.length);
      if (length === 0) break;
      isMoving = true;
      client.raw.push(buf.slice(0, length));
      client.machine.handleBytes(this.nowMs, buf, 0, length);
      const { machine } = client;
      while (machine.pollPacket()) {
        const { packet, packetSource, packetStart, packetEnd } = machine;
        client.packets.push(
          `${toHex(packet.slice(packetSource, packetSource + 4))}:${toHex(packet.slice(packetStart, packetEnd))}`,
        );
      }
      for (let event = machine.pollEvent(); event !== undefined; event = machine.pollEvent()) client.events.push(event);
    }
    this.#waiting.delete(id);
    return isMoving;
  }
}
