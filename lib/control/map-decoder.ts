/**
 * The map stream into a netmap, while it streams: frames, JSON in pieces of any size, and each value as soon as it is
 * complete into the stage of its message, which is applied when the message is whole. Memory does not grow with a
 * message, only with what is kept of it. A message that is truncated, undecodable or beyond a limit changes nothing and
 * ends the stream; the session then starts anew.
 *
 * Between two messages nothing of the last is held but the netmap. Left out: asking for the stream and its watchdog, which are the client's.
 */
import { NetError } from '../base/errors.ts';
import { FRAME_BAD, FRAME_END, FRAME_PIECE, MapFrames } from './map-frames.ts';
import { MAP_LIMITS_LARGE, type MapLimits } from './map-limits.ts';
import { MapMessage } from './map-message.ts';
import type { MapPing } from './map-values.ts';
import { Netmap, type NetmapChanges } from './netmap.ts';
import type { PeerSlimmer } from './peer-slimmer.ts';

/** What the map stream brings. */
export type MapEvent =
  /** The coordinator is there. */
  | { readonly type: 'keepalive' }
  /** The netmap has changed; several messages may stand behind one event. */
  | { readonly type: 'netmap'; readonly changes: NetmapChanges }
  /** The coordinator wants an answer; only the latest is kept. */
  | { readonly type: 'ping'; readonly ping: MapPing }
  /** A page that the user is to open; http or https. */
  | { readonly type: 'open-url'; readonly url: string };

/** Decodes one map stream after another into one netmap. */
export class MapDecoder {
  readonly netmap: Netmap;
  /** Why the stream is dead. */
  error: NetError | undefined = undefined;
  /** Messages that were whole and applied, keepalives included. */
  messages = 0;
  readonly #limits: MapLimits;
  readonly #frames: MapFrames;
  /** The message that is being read. */
  #message: MapMessage | undefined = undefined;
  #hasKeepAlive = false;
  #changes: NetmapChanges | undefined = undefined;
  #ping: MapPing | undefined = undefined;
  #openUrl: string | undefined = undefined;

  /** With a slimmer the records of many peers are slim; without one all are whole. */
  constructor(limits: MapLimits = MAP_LIMITS_LARGE, slimmer?: PeerSlimmer) {
    this.#limits = limits;
    this.netmap = new Netmap(limits, slimmer);
    this.#frames = new MapFrames(limits.messageBytes);
  }

  /** A new stream begins. The netmap stays as it is until its first message is whole. */
  startStream(): void {
    this.error = undefined;
    this.#frames.reset();
    this.#message = undefined;
    this.netmap.startStream();
  }

  /** About how many bytes of memory decoder and netmap hold now, records of peers to the byte. */
  get heldBytes(): number {
    return this.netmap.peers.heldBytes + (this.#message?.heldBytes ?? 0);
  }

  /**
   * Bytes of the stream, `buf[start, end)`, lent for the call; all are consumed. Returns 0, or -1 when the stream is dead: `error` says why, and {@link startStream} is needed.
   */
  handleBytes(buf: Uint8Array, start: number, end: number): number {
    if (this.error !== undefined) return -1;
    const frames = this.#frames;
    for (let at = start; ; at = frames.at) {
      const kind = frames.next(buf, at, end);
      if (kind === FRAME_BAD) return this.#fail('a message of the map stream has a length that cannot be');
      if (kind === FRAME_END) {
        if (!this.#finish()) return -1;
      } else if (kind === FRAME_PIECE) {
        if (!this.#decode(buf, frames.pieceStart, frames.at)) return -1;
      } else {
        return 0;
      }
    }
  }

  /** The stream has ended. True when it did between two messages; a message that was cut off has changed nothing. */
  handleEnd(): boolean {
    const isBetween = this.error === undefined && this.#frames.isBetween;
    if (!isBetween) this.#fail('the map stream was cut off');
    return isBetween;
  }

  /** The next event, or undefined. */
  pollEvent(): MapEvent | undefined {
    const [changes, ping, url] = [this.#changes, this.#ping, this.#openUrl];
    if (changes !== undefined) {
      this.#changes = undefined;
      return { type: 'netmap', changes };
    }
    if (ping !== undefined) {
      this.#ping = undefined;
      return { type: 'ping', ping };
    }
    if (url !== undefined) {
      this.#openUrl = undefined;
      return { type: 'open-url', url };
    }
    if (!this.#hasKeepAlive) return undefined;
    this.#hasKeepAlive = false;
    return { type: 'keepalive' };
  }

  #fail(text: string): -1 {
    this.error ??= new NetError('ERR_PROTOCOL', text);
    this.#message = undefined;
    return -1;
  }

  #decode(buf: Uint8Array, start: number, end: number): boolean {
    this.#message ??= new MapMessage(this.#limits, this.netmap.createStage());
    const problem = this.#message.handleBytes(buf, start, end);
    return problem === undefined || this.#refuse(problem);
  }

  #refuse(problem: string): false {
    this.#fail(`a message of the map stream cannot be used: ${problem}`);
    return false;
  }

  #finish(): boolean {
    const message = this.#message;
    if (message?.finish() !== true) return this.#refuse('it is cut off'); // CHECK: map-truncated
    const { stage } = message;
    this.#message = undefined;
    this.messages++;
    this.#ping = stage.ping ?? this.#ping;
    this.#openUrl = stage.openUrl ?? this.#openUrl;
    if (stage.isKeepAlive) {
      this.#hasKeepAlive = true;
      if (stage.controlTimeMs > 0) this.netmap.controlTimeMs = stage.controlTimeMs;
      return true;
    }
    const changes = this.netmap.apply(stage);
    if (typeof changes === 'string') return this.#refuse(changes);
    this.#changes = mergedChanges(this.#changes, changes);
    return true;
  }
}

/** Changes of two messages as one. */
export function mergedChanges(before: NetmapChanges | undefined, after: NetmapChanges): NetmapChanges {
  if (before === undefined) return after;
  const peers = new Set<number>();
  for (const part of [before.peers, after.peers]) if (part !== 'all') for (const id of part) peers.add(id);
  const isAll = before.peers === 'all' || after.peers === 'all';
  return {
    isFirst: before.isFirst || after.isFirst,
    self: before.self || after.self,
    peers: isAll ? 'all' : peers,
    regions: before.regions || after.regions,
    dns: before.dns || after.dns,
    domain: before.domain || after.domain,
    filter: before.filter || after.filter,
    users: before.users || after.users,
    health: before.health || after.health,
  };
}
