/**
 * The map stream into a netmap, while it streams: frames, JSON in pieces of any size, and each value as soon as it is
 * complete into the stage of its message, which is applied when the message is whole. Memory does not grow with a
 * message, only with what is kept of it. A message that is truncated, undecodable or beyond a limit changes nothing and
 * ends the stream; the session then starts anew.
 *
 * Left out: asking for the stream and its watchdog, which are the client's.
 */
import { NetError } from '../base/errors.ts';
import { wantedField } from './fields.ts';
import { JsonCollector } from './json-collector.ts';
import {
  JSON_ARRAY,
  JSON_ARRAY_END,
  JSON_BAD,
  JSON_KEY,
  JSON_MORE,
  JSON_NULL,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JsonReader,
} from './json-stream.ts';
import { FRAME_BAD, FRAME_END, FRAME_PIECE, MapFrames } from './map-frames.ts';
import { MAP_LIMITS_LARGE, type MapLimits } from './map-limits.ts';
import { MapStage } from './map-stage.ts';
import type { MapPing } from './map-values.ts';
import { Netmap, type NetmapChanges } from './netmap.ts';

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

/** Fields that are lists, of which each element is a value. */
const LISTS = Object.freeze([
  'Peers',
  'PeersChanged',
  'PeersRemoved',
  'PeersChangedPatch',
  'UserProfiles',
  'PacketFilter',
]);
/** Fields that are objects with any names. */
const ENTRIES = Object.freeze(['OnlineChange', 'PacketFilters', 'DERPMap']);

/** Where in a message the decoder stands. */
type Where = 'document' | 'message' | 'field' | 'list' | 'entries' | 'entry' | 'derp' | 'regions' | 'end';

/** Decodes one map stream after another into one netmap. */
export class MapDecoder {
  readonly netmap: Netmap;
  /** Why the stream is dead. */
  error: NetError | undefined = undefined;
  /** Messages that were whole and applied, keepalives included. */
  messages = 0;
  readonly #limits: MapLimits;
  readonly #record: Uint8Array;
  #frames: MapFrames;
  readonly #reader: JsonReader;
  readonly #collector = new JsonCollector();
  #stage: MapStage | undefined = undefined;
  #where: Where = 'document';
  /** The field of the message that is being read, and the name of its entry. */
  #field = '';
  #key = '';
  /** Where to go on after a list, after entries and after a value. */
  #afterList: Where = 'message';
  #afterEntries: Where = 'message';
  #afterValue: Where | undefined = undefined;
  #hasKeepAlive = false;
  #changes: NetmapChanges | undefined = undefined;
  #ping: MapPing | undefined = undefined;
  #openUrl: string | undefined = undefined;

  constructor(limits: MapLimits = MAP_LIMITS_LARGE) {
    this.#limits = limits;
    this.#record = new Uint8Array(limits.recordBytes);
    this.netmap = new Netmap(limits, this.#record);
    this.#reader = new JsonReader(limits);
    this.#frames = new MapFrames(limits.messageBytes);
  }

  /** A new stream begins. The netmap stays as it is until its first message is whole. */
  startStream(): void {
    this.error = undefined;
    this.#frames = new MapFrames(this.#limits.messageBytes);
    this.#stage = undefined;
    this.#afterValue = undefined;
    this.netmap.startStream();
  }

  /** About how many bytes of memory decoder and netmap hold now, records of peers to the byte. */
  get heldBytes(): number {
    const value = this.#afterValue === undefined ? 0 : this.#collector.cost;
    const stage = this.#stage?.heldBytes ?? 0;
    return this.#reader.heldBytes + this.#record.length + this.netmap.peers.heldBytes + stage + value;
  }

  /**
   * Bytes of the stream, `buf[start, end)`, lent for the call; all are consumed. Returns 0, or -1 when the stream is dead: `error` says why, and {@link startStream} is needed.
   */
  handleBytes(buf: Uint8Array, start: number, end: number): number {
    if (this.error !== undefined) return -1;
    const frames = this.#frames;
    frames.write(buf, start, end);
    for (;;) {
      const kind = frames.next();
      if (kind === FRAME_BAD) return this.#fail('a message of the map stream has a length that cannot be');
      if (kind === FRAME_END) {
        if (!this.#finish()) return -1;
      } else if (kind === FRAME_PIECE) {
        if (!this.#decode(buf, frames.pieceStart, frames.pieceEnd)) return -1;
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
    this.#stage = undefined;
    this.#afterValue = undefined;
    return -1;
  }

  #decode(buf: Uint8Array, start: number, end: number): boolean {
    if (this.#stage === undefined) {
      this.#stage = new MapStage(this.#limits, this.netmap.basis, this.#record);
      this.#reader.reset();
      this.#where = 'document';
    }
    this.#reader.write(buf, start, end);
    for (let token = this.#reader.next(); token !== JSON_MORE; token = this.#reader.next()) {
      const isFine = token !== JSON_BAD && this.#handleToken(this.#stage, token);
      if (!isFine) return this.#refuse(this.#reader.problem ?? `${this.#field || 'it'} has an unexpected form`);
    }
    return true;
  }

  #refuse(problem: string): false {
    this.#fail(`a message of the map stream cannot be used: ${problem}`);
    return false;
  }

  #finish(): boolean {
    const stage = this.#stage;
    const isWhole = this.#reader.finish() && this.#where === 'end';
    if (stage === undefined || !isWhole) return this.#refuse('it is cut off'); // CHECK: map-truncated
    this.#stage = undefined;
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

  /** False: the message does not have the form of a MapResponse. */
  #handleToken(stage: MapStage, token: number): boolean {
    if (this.#afterValue !== undefined) {
      if (this.#collector.handle(token, this.#reader)) this.#deliver(stage, this.#afterValue);
      return true;
    }
    switch (this.#where) {
      case 'document':
        return token === JSON_OBJECT && this.#go('message');
      case 'message':
        return this.#handleName(token, 'MapResponse');
      case 'field':
        return this.#startField(stage, token);
      case 'list':
        return token === JSON_ARRAY_END
          ? this.#go(this.#afterList)
          : this.#collect(token, 'list', this.#limits.valueBytes);
      case 'entries':
        return this.#handleEntryName(token);
      case 'entry':
        return this.#startEntry(stage, token);
      case 'derp':
        return this.#handleName(token, 'DERPMap');
      case 'regions':
        return this.#startRegions(stage, token);
      default:
        return false;
    }
  }

  #go(where: Where): true {
    this.#where = where;
    return true;
  }

  /** A name in the message or in its DERPMap, or the end of that. */
  #handleName(token: number, kind: 'MapResponse' | 'DERPMap'): boolean {
    const isMessage = kind === 'MapResponse';
    if (token === JSON_OBJECT_END) return this.#go(isMessage ? 'end' : 'message');
    const name = this.#reader.text;
    if (wantedField(kind, name) === undefined) {
      this.#reader.skip();
      return true;
    }
    this.#field = name;
    return this.#go(isMessage ? 'field' : 'regions');
  }

  #startField(stage: MapStage, token: number): boolean {
    this.#key = '';
    if (token === JSON_NULL) return this.#go('message');
    if (LISTS.includes(this.#field)) {
      stage.beginList(this.#field, '');
      this.#afterList = 'message';
      return token === JSON_ARRAY && this.#go('list');
    }
    if (ENTRIES.includes(this.#field)) {
      this.#afterEntries = 'message';
      return token === JSON_OBJECT && this.#go(this.#field === 'DERPMap' ? 'derp' : 'entries');
    }
    return this.#collect(token, 'message', this.#limits.wholeBytes);
  }

  #startRegions(stage: MapStage, token: number): boolean {
    if (token === JSON_NULL) return this.#go('derp');
    stage.beginRegions();
    this.#afterEntries = 'derp';
    return token === JSON_OBJECT && this.#go('entries');
  }

  #handleEntryName(token: number): boolean {
    if (token === JSON_OBJECT_END) return this.#go(this.#afterEntries);
    this.#key = this.#reader.text;
    return token === JSON_KEY && !this.#reader.isTooLong && this.#go('entry');
  }

  #startEntry(stage: MapStage, token: number): boolean {
    if (this.#field !== 'PacketFilters') return this.#collect(token, 'entries', this.#limits.valueBytes);
    if (token === JSON_NULL) {
      stage.deleteChunk(this.#key);
      return this.#go('entries');
    }
    stage.beginList(this.#field, this.#key);
    this.#afterList = 'entries';
    return token === JSON_ARRAY && this.#go('list');
  }

  /** Collects the value that begins with `token`, and goes on at `after`. */
  #collect(token: number, after: Where, budget: number): boolean {
    const rule = wantedField(this.#field === 'Regions' ? 'DERPMap' : 'MapResponse', this.#field);
    this.#collector.begin(rule?.of, budget);
    this.#afterValue = after;
    if (this.#collector.handle(token, this.#reader)) this.#deliver(this.#stage!, after);
    return true;
  }

  #deliver(stage: MapStage, after: Where): void {
    const { value, cost } = this.#collector;
    this.#afterValue = undefined;
    this.#collector.value = undefined;
    this.#where = after;
    if (after === 'message') stage.set(this.#field, value);
    else if (after === 'list') stage.addElement(this.#field, value, cost);
    else stage.addEntry(this.#field, this.#key, value);
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
