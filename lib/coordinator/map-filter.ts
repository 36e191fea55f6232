/**
 * Packet filters on their way out. Lists of sources are long, and many devices have the same one: each is encoded once
 * and shared by the messages that it is in. A device is told of its filter only when its content is another one.
 *
 * The form is that of every client from capability version 81 on: the named chunk `base`, which replaces the one before;
 * an empty one allows nothing. Older clients know the list without a name only.
 */
import type { WireFilterRule, WireNetPortRange } from '../filter/rule.ts';
import { encodeText } from './map-text.ts';
import { isSameList } from './node-view.ts';

/** From here on clients know chunks of filters by name. */
const NAMED_CHUNKS_VERSION = 81;
/** About what a rule may cost on a small device, which drops one of more than 4,096 bytes, and half of it. */
const SMALL_RULE_BYTES = 3600;
const SMALL_HALF_BYTES = SMALL_RULE_BYTES / 2;

/** Makes the field of a message; keeps the lists of sources as bytes while they are in use. */
export class MapFilters {
  readonly #sources = new WeakMap<readonly string[], Uint8Array>();
  readonly #openNamed = encodeText('"PacketFilters":{"base":[');
  readonly #closeNamed = encodeText(']}');
  readonly #openList = encodeText('"PacketFilter":[');
  readonly #closeList = encodeText(']');
  readonly #openRule = encodeText('{"SrcIPs":');
  readonly #nextRule = encodeText(',{"SrcIPs":');

  /** The field as parts of a message. `capability` is that of the reader; for a small one rules are cut in pieces. */
  field(rules: readonly WireFilterRule[], capability: number, isSmall: boolean): Uint8Array[] {
    const isNamed = capability === 0 || capability >= NAMED_CHUNKS_VERSION;
    const out = [isNamed ? this.#openNamed : this.#openList];
    let opening = this.#openRule;
    for (const rule of isSmall ? rules.flatMap(piecesOf) : rules) {
      out.push(opening, this.#sourcesOf(rule.SrcIPs), encodeText(restOf(rule)));
      opening = this.#nextRule;
    }
    out.push(isNamed ? this.#closeNamed : this.#closeList);
    return out;
  }

  #sourcesOf(texts: readonly string[]): Uint8Array {
    let bytes = this.#sources.get(texts);
    if (bytes === undefined) {
      bytes = encodeText(JSON.stringify(texts));
      this.#sources.set(texts, bytes);
    }
    return bytes;
  }
}

/** What stands behind the sources; without protocols where the rule names none. */
function restOf({ DstPorts, IPProto = [], CapGrant }: WireFilterRule): string {
  const fields = {
    ...(IPProto.length > 0 && { IPProto }),
    ...(DstPorts && { DstPorts }),
    ...(CapGrant && { CapGrant }),
  };
  const text = JSON.stringify(fields).slice(1);
  return text === '}' ? text : `,${text}`;
}

/** A rule as rules that together say the same. */
function piecesOf(rule: WireFilterRule): readonly WireFilterRule[] {
  const { SrcIPs, DstPorts } = rule;
  if (DstPorts === undefined) return [rule];
  return cut(DstPorts, destinationBytes, SMALL_HALF_BYTES).flatMap(part => {
    const room = SMALL_RULE_BYTES - part.reduce((sum, each) => sum + destinationBytes(each), 0);
    return cut(SrcIPs, sourceBytes, room).map(texts => ({ ...rule, SrcIPs: texts, DstPorts: part }));
  });
}

function destinationBytes({ IP }: WireNetPortRange): number {
  return 240 + 2 * IP.length;
}

function sourceBytes(text: string): number {
  return 16 + 2 * text.length;
}

function cut<T>(items: readonly T[], sizeOf: (item: T) => number, most: number): (readonly T[])[] {
  const out: T[][] = [];
  let size = Infinity;
  for (const item of items) {
    size += sizeOf(item);
    if (size > most) {
      out.push([]);
      size = sizeOf(item);
    }
    out[out.length - 1]!.push(item);
  }
  return out.length <= 1 ? [items] : out;
}

/** Whether two filters say the same, in the same words. */
export function isSameFilter(a: readonly WireFilterRule[], b: readonly WireFilterRule[]): boolean {
  return a === b || (a.length === b.length && a.every((rule, i) => isSameRule(rule, b[i]!)));
}

function isSameRule(a: WireFilterRule, b: WireFilterRule): boolean {
  return isSameList(a.SrcIPs, b.SrcIPs) && restOf(a) === restOf(b);
}
