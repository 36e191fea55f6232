/**
 * One message of the map stream while it is read: its tokens, and each value as soon as it is complete into the stage.
 * It lives as long as its message: between two messages nothing of it is there.
 */
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
import type { MapLimits } from './map-limits.ts';
import type { MapStage } from './map-stage.ts';

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

/** Reads one message. */
export class MapMessage {
  /** What the message would change. */
  readonly stage: MapStage;
  readonly #limits: MapLimits;
  readonly #reader: JsonReader;
  readonly #collector = new JsonCollector();
  #where: Where = 'document';
  /** The field of the message that is being read, and the name of its entry. */
  #field = '';
  #key = '';
  /** Where to go on after a list, after entries and after a value. */
  #afterList: Where = 'message';
  #afterEntries: Where = 'message';
  #afterValue: Where | undefined = undefined;

  /** `stage` is an empty one. */
  constructor(limits: MapLimits, stage: MapStage) {
    this.#limits = limits;
    this.stage = stage;
    this.#reader = new JsonReader(limits);
  }

  /** About how many bytes of memory this holds. */
  get heldBytes(): number {
    const value = this.#afterValue === undefined ? 0 : this.#collector.cost;
    return this.#reader.heldBytes + this.stage.heldBytes + value;
  }

  /** The next piece, `buf[start, end)`, lent for the call. Why the message cannot be used, or undefined. */
  handleBytes(buf: Uint8Array, start: number, end: number): string | undefined {
    const reader = this.#reader;
    reader.write(buf, start, end);
    for (let token = reader.next(); token !== JSON_MORE; token = reader.next()) {
      const isFine = token !== JSON_BAD && this.#handleToken(token);
      if (!isFine) return reader.problem ?? `${this.#field || 'it'} has an unexpected form`;
    }
    return undefined;
  }

  /** The end of the message: whether it is whole. */
  finish(): boolean {
    return this.#reader.finish() && this.#where === 'end';
  }

  /** False: the message does not have the form of a MapResponse. */
  #handleToken(token: number): boolean {
    if (this.#afterValue !== undefined) {
      if (this.#collector.handle(token, this.#reader)) this.#deliver(this.#afterValue);
      return true;
    }
    switch (this.#where) {
      case 'document':
        return token === JSON_OBJECT && this.#go('message');
      case 'message':
        return this.#handleName(token, 'MapResponse');
      case 'field':
        return this.#startField(token);
      case 'list':
        return token === JSON_ARRAY_END
          ? this.#go(this.#afterList)
          : this.#collect(token, 'list', this.#limits.valueBytes);
      case 'entries':
        return this.#handleEntryName(token);
      case 'entry':
        return this.#startEntry(token);
      case 'derp':
        return this.#handleName(token, 'DERPMap');
      case 'regions':
        return this.#startRegions(token);
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

  #startField(token: number): boolean {
    this.#key = '';
    if (token === JSON_NULL) return this.#go('message');
    if (LISTS.includes(this.#field)) {
      this.stage.beginList(this.#field, '');
      this.#afterList = 'message';
      return token === JSON_ARRAY && this.#go('list');
    }
    if (ENTRIES.includes(this.#field)) {
      this.#afterEntries = 'message';
      return token === JSON_OBJECT && this.#go(this.#field === 'DERPMap' ? 'derp' : 'entries');
    }
    return this.#collect(token, 'message', this.#limits.wholeBytes);
  }

  #startRegions(token: number): boolean {
    if (token === JSON_NULL) return this.#go('derp');
    this.stage.beginRegions();
    this.#afterEntries = 'derp';
    return token === JSON_OBJECT && this.#go('entries');
  }

  #handleEntryName(token: number): boolean {
    if (token === JSON_OBJECT_END) return this.#go(this.#afterEntries);
    this.#key = this.#reader.text;
    return token === JSON_KEY && !this.#reader.isTooLong && this.#go('entry');
  }

  #startEntry(token: number): boolean {
    if (this.#field !== 'PacketFilters') return this.#collect(token, 'entries', this.#limits.valueBytes);
    if (token === JSON_NULL) {
      this.stage.deleteChunk(this.#key);
      return this.#go('entries');
    }
    this.stage.beginList(this.#field, this.#key);
    this.#afterList = 'entries';
    return token === JSON_ARRAY && this.#go('list');
  }

  /** Collects the value that begins with `token`, and goes on at `after`. */
  #collect(token: number, after: Where, budget: number): boolean {
    const rule = wantedField(this.#field === 'Regions' ? 'DERPMap' : 'MapResponse', this.#field);
    this.#collector.begin(rule?.of, budget);
    this.#afterValue = after;
    if (this.#collector.handle(token, this.#reader)) this.#deliver(after);
    return true;
  }

  #deliver(after: Where): void {
    const { value, cost } = this.#collector;
    this.#afterValue = undefined;
    this.#collector.value = undefined;
    this.#where = after;
    if (after === 'message') this.stage.set(this.#field, value);
    else if (after === 'list') this.stage.addElement(this.#field, value, cost);
    else this.stage.addEntry(this.#field, this.#key, value);
  }
}
