/**
 * Reads a dump of a 32-bit engine's heaps (shell.c, frame `dump`) and says what holds the memory: every object belongs to
 * the shortest way to it from a root, and a way costs what hangs on it. Layout of slots: xsAll.h of XS 13.
 */

const SLOT_BYTES = 16;
const CHUNK_HEADER_BYTES = 8;
/** Kinds of slots, as XS 13 numbers them (xsAll.h). */
const KIND = Object.freeze({
  string: 5,
  bigint: 8,
  reference: 10,
  closure: 11,
  instance: 13,
  argumentsSloppy: 14,
  argumentsStrict: 15,
  array: 16,
  arrayBuffer: 17,
  callback: 18,
  code: 19,
  codeX: 20,
  global: 25,
  map: 27,
  promise: 30,
  regexp: 32,
  set: 33,
  accessor: 38,
  home: 42,
  list: 45,
  private: 46,
  stack: 47,
  ids: 59,
});

/** A piece of the way to an object, with what hangs on it in bytes. */
export interface HeapNode {
  readonly name: string;
  slotBytes: number;
  chunkBytes: number;
  readonly children: HeapNode[];
}

/** One dump. */
export class HeapDump {
  readonly #areas: { start: number; end: number; view: DataView }[] = [];
  /** How many of the areas, the first ones, hold slots. */
  #slotAreas = 0;
  readonly #names: string[] = [];
  readonly #seen = new Set<number>();
  readonly #queue: { at: number; node: HeapNode; isChain: boolean }[] = [];
  readonly #root: number;
  readonly #free: number;
  #isFree = false;
  #known: ReadonlySet<number> = new Set();

  /** `addresses` is the text that came with the dump. */
  constructor(bytes: Buffer, addresses: string) {
    const [root, free] = addresses.split(' ').map(Number);
    this.#root = root!;
    this.#free = free!;
    let at = 0;
    for (let lists = 0; lists < 2; ) {
      const start = bytes.readUInt32LE(at);
      const length = bytes.readUInt32LE(at + 4);
      at += 8;
      if (length === 0) {
        if (lists++ === 0) this.#slotAreas = this.#areas.length;
        continue;
      }
      this.#areas.push({ start, end: start + length, view: new DataView(bytes.buffer, bytes.byteOffset + at, length) });
      at += length;
    }
    while (at < bytes.length) {
      const length = bytes.readUInt32LE(at);
      this.#names.push(bytes.toString('latin1', at + 4, at + 4 + length));
      at += 4 + length;
    }
  }

  /**
   * The tree of what is reached from the root. Slots of `known`, of an earlier dump of the same engine, cost nothing, nor
   * do the chunks that hang on them: slots never move.
   */
  tree(known: ReadonlySet<number> = new Set()): HeapNode {
    this.#known = known;
    const top: HeapNode = { name: '', slotBytes: 0, chunkBytes: 0, children: [] };
    this.#queue.push({ at: this.#root, node: top, isChain: true });
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) this.#visit(next);
    sum(top);
    return top;
  }

  /** Addresses of all slots in use. */
  get slots(): ReadonlySet<number> {
    const used = new Set<number>();
    for (const { start, view } of this.#areas.slice(0, this.#slotAreas))
      for (let at = 0; at + SLOT_BYTES <= view.byteLength; at += SLOT_BYTES) used.add(start + at);
    for (let free = this.#free; free !== 0; free = this.#u32(free)) used.delete(free);
    return used;
  }

  /** Instances that are not known, by class: how many, and the bytes of slots and chunks of their own. */
  classes(known: ReadonlySet<number>): { name: string; count: number; bytes: number }[] {
    const found = new Map<string, { count: number; bytes: number }>();
    for (const at of this.slots) {
      if (known.has(at) || (this.#u32(at + 4) & 0xff) !== KIND.instance) continue;
      const name = this.#className(this.#u32(at + 12));
      const entry = found.get(name) ?? { count: 0, bytes: 0 };
      entry.count++;
      entry.bytes += this.#ownBytes(at, 0);
      found.set(name, entry);
    }
    return [...found].map(([name, entry]) => ({ name, ...entry })).sort((a, b) => b.bytes - a.bytes);
  }

  /** Plain objects and functions that are not known, by the names of their properties, with their bytes. */
  shapes(known: ReadonlySet<number>): { names: string; count: number; bytes: number }[] {
    const found = new Map<string, { count: number; bytes: number }>();
    for (const at of this.slots) {
      if (known.has(at) || (this.#u32(at + 4) & 0xff) !== KIND.instance) continue;
      const name = this.#className(this.#u32(at + 12));
      if (!['Object', 'Function', '(none)'].includes(name)) continue;
      const ids: string[] = [];
      for (let slot = this.#u32(at); slot !== 0 && this.#has(slot); slot = this.#u32(slot))
        ids.push(this.#nameOf(this.#u32(slot + 4) >>> 16));
      const names = `${name} ${ids.join(' ')}`;
      const entry = found.get(names) ?? { count: 0, bytes: 0 };
      found.set(names, { count: entry.count + 1, bytes: entry.bytes + this.#ownBytes(at, 0) });
    }
    return [...found].map(([names, entry]) => ({ names, ...entry })).sort((a, b) => b.bytes - a.bytes);
  }

  #ownBytes(first: number, depth: number): number {
    let bytes = 0;
    for (let slot = first; slot !== 0 && this.#has(slot); slot = this.#u32(slot)) {
      bytes += SLOT_BYTES;
      const kind = this.#u32(slot + 4) & 0xff;
      const [data, second] = [this.#u32(slot + 8), this.#u32(slot + 12)];
      const hasChunk = [KIND.string, KIND.bigint, KIND.arrayBuffer, KIND.array, KIND.map, KIND.set].includes(kind as 5);
      if (hasChunk && this.#has(data)) bytes += (this.#u32(data - CHUNK_HEADER_BYTES) + 3) & ~3;
      if (kind === KIND.private && depth === 0) bytes += this.#ownBytes(second, 1);
      if ((kind === KIND.map || kind === KIND.set) && this.#has(data))
        for (let i = 0; i < second; i++) bytes += this.#ownBytes(this.#u32(data + 4 * i), 1);
    }
    return bytes;
  }

  #className(prototype: number): string {
    for (let slot = this.#has(prototype) ? prototype : 0; slot !== 0; slot = this.#u32(slot)) {
      const head = this.#u32(slot + 4);
      if (this.#names[(head >>> 16) & 0x7fff] !== 'constructor' || (head & 0xff) !== KIND.reference) continue;
      for (let own = this.#u32(slot + 8); own !== 0; own = this.#u32(own)) {
        const named = this.#u32(own + 4);
        if (this.#names[(named >>> 16) & 0x7fff] === 'name') return this.#text(named & 0xff, this.#u32(own + 8));
      }
    }
    return prototype === 0 ? '(none)' : `at ${prototype.toString(16)}`;
  }

  #text(kind: number, data: number): string {
    if (kind === 7) return this.#nameOf(data & 0xffff);
    let text = '';
    for (let at = data; this.#has(at) && text.length < 60; at++) {
      const byte = (this.#u32((at & ~3) >>> 0) >>> (8 * (at & 3))) & 0xff;
      if (byte === 0) break;
      text += String.fromCharCode(byte);
    }
    return text === '' ? `kind ${kind}` : text;
  }

  #u32(at: number): number {
    for (const { start, end, view } of this.#areas)
      if (at >= start && at < end) return view.getUint32(at - start, true);
    throw new RangeError(`no memory at ${at.toString(16)}`);
  }

  #has(at: number): boolean {
    return this.#areas.some(({ start, end }) => at >= start && at < end);
  }

  #nameOf(id: number): string {
    return this.#names[id & 0x7fff] ?? `key ${id}`;
  }

  #child(node: HeapNode, name: string): HeapNode {
    const child: HeapNode = { name, slotBytes: 0, chunkBytes: 0, children: [] };
    node.children.push(child);
    return child;
  }

  #addChunk(node: HeapNode, data: number): void {
    if (data === 0 || this.#seen.has(data) || !this.#has(data)) return;
    this.#seen.add(data);
    if (!this.#isFree) node.chunkBytes += (this.#u32(data - CHUNK_HEADER_BYTES) + 3) & ~3;
  }

  /** A slot, and those chained to it. */
  #visit({ at, node, isChain }: { at: number; node: HeapNode; isChain: boolean }): void {
    for (let slot = at; slot !== 0; slot = isChain ? this.#u32(slot) : 0) {
      if (this.#seen.has(slot) || !this.#has(slot)) return;
      this.#seen.add(slot);
      this.#isFree = this.#known.has(slot);
      if (!this.#isFree) node.slotBytes += SLOT_BYTES;
      this.#value(slot, node);
    }
  }

  #follow(node: HeapNode, at: number, isChain: boolean): void {
    if (at !== 0 && !this.#seen.has(at)) this.#queue.push({ at, node, isChain });
  }

  #value(slot: number, node: HeapNode): void {
    const head = this.#u32(slot + 4);
    const kind = head & 0xff;
    const id = head >>> 16;
    const [first, second] = [this.#u32(slot + 8), this.#u32(slot + 12)];
    const isNamed = id !== 0 && id !== 0xffff;
    const named = () => (isNamed ? this.#child(node, this.#nameOf(id)) : node);
    switch (kind) {
      case KIND.string:
      case KIND.bigint:
      case KIND.arrayBuffer:
      case KIND.ids:
        return this.#addChunk(node, first);
      case KIND.regexp:
        this.#addChunk(node, first);
        return this.#addChunk(node, second);
      case KIND.reference:
        return this.#follow(named(), first, true);
      case KIND.closure:
        return this.#follow(named(), first, false);
      case KIND.argumentsSloppy:
      case KIND.argumentsStrict:
      case KIND.array:
      case KIND.stack:
        return this.#array(node, first, second);
      case KIND.code:
      case KIND.codeX:
      case KIND.callback:
        return this.#follow(this.#child(node, '(closures)'), second, true);
      case KIND.accessor:
        this.#follow(node, first, true);
        return this.#follow(node, second, true);
      case KIND.list:
        return this.#follow(node, first, true);
      case KIND.private:
        return this.#follow(node, second, true);
      case KIND.map:
      case KIND.set:
        return this.#table(node, first, second);
      default:
    }
  }

  #array(node: HeapNode, address: number, length: number): void {
    if (address === 0 || this.#seen.has(address) || !this.#has(address)) return;
    this.#addChunk(node, address);
    const size = this.#u32(address - CHUNK_HEADER_BYTES);
    const count = Math.min(length, Math.floor(size / SLOT_BYTES));
    for (let i = 0; i < count; i++) this.#value(address + SLOT_BYTES * i, node);
  }

  #table(node: HeapNode, address: number, length: number): void {
    this.#addChunk(node, address);
    for (let i = 0; i < length; i++) this.#visit({ at: this.#u32(address + 4 * i), node, isChain: true });
  }
}

function sum(node: HeapNode): void {
  for (const child of node.children) {
    sum(child);
    node.slotBytes += child.slotBytes;
    node.chunkBytes += child.chunkBytes;
  }
  node.children.sort((a, b) => b.slotBytes + b.chunkBytes - a.slotBytes - a.chunkBytes);
}

/** The tree as indented lines, without what is smaller than `least` bytes or deeper than `depth`. */
export function heapLines(node: HeapNode, least: number, depth: number, indent = ''): string[] {
  const lines: string[] = [];
  for (const child of node.children) {
    if (child.slotBytes + child.chunkBytes < least) continue;
    lines.push(`${indent}${child.name}  ${child.slotBytes + child.chunkBytes} (${child.chunkBytes} in chunks)`);
    if (depth > 1) lines.push(...heapLines(child, least, depth - 1, `${indent}  `));
  }
  return lines;
}
