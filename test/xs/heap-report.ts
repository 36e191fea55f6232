/**
 * Where the memory of a mote on the 32-bit engine goes: `npm run xs -- --memory whole|small [LEAST]` runs the story of
 * memory.ts and prints, for the idle member and for the fullest moment of the HTTP exchange, the tree of what holds what,
 * instances by class, and objects by shape; pieces below LEAST bytes (default 300) are left out. Every growth of the
 * heaps is a line of its own, with the letter of the frame in which it came (remote-device.ts).
 */
import type { EngineLink, FrameKind, FrameOut, MemoryFigures } from './engine-link.ts';
import { HeapDump, heapLines } from './heap.ts';
import { DEVICES, reservedBytes, runMemoryStory, usedBytes, withMoteEngine } from './memory.ts';

const CLASSES = 60;
const SHAPES = 40;
const DEPTH = 40;
/** Offset of a frame's letter. */
const LETTER_AT = 16;

/** One engine that is looked at from its first frame on. */
class HeapReport {
  readonly #send: (kind: FrameKind, content?: Uint8Array) => FrameOut[];
  readonly #base: MemoryFigures;
  readonly #known: ReadonlySet<number>;
  readonly #least: number;
  #reserved = 0;
  #fullest = 0;
  #shown = '';
  isAnswering = false;

  constructor(link: EngineLink, base: MemoryFigures, least: number) {
    this.#send = link.send.bind(link);
    this.#base = base;
    this.#least = least;
    this.#known = this.#dump().slots;
    link.send = (kind, content) => {
      const answers = this.#send(kind, content);
      if (kind === 'script') this.#look(String.fromCharCode(content![LETTER_AT]!), content!.length);
      return answers;
    };
  }

  #dump(): HeapDump {
    const { bytes, text } = this.#send('dump')[0]!;
    return new HeapDump(bytes, text);
  }

  #figures(kind: 'collect' | 'figures'): MemoryFigures {
    return JSON.parse(this.#send(kind)[0]!.text) as MemoryFigures;
  }

  #look(letter: string, length: number): void {
    const figures = this.#figures('figures');
    const reserved = reservedBytes(figures) - reservedBytes(this.#base);
    if (reserved > this.#reserved)
      console.log(`grows to ${kilobytes(reserved)} KB in a frame ${letter} of ${length} bytes`);
    this.#reserved = Math.max(this.#reserved, reserved);
    if (!this.isAnswering) return;
    const used = usedBytes(this.#figures('collect'));
    if (used <= this.#fullest) return;
    this.#fullest = used;
    this.#shown = this.tree('the fullest moment');
  }

  /** What is in use now, as text. */
  tree(title: string): string {
    const figures = this.#figures('collect');
    const chunk = figures.chunkUsed - this.#base.chunkUsed;
    const slot = figures.slotUsed - this.#base.slotUsed;
    const dump = this.#dump();
    const lines = [
      `\n${title}: ${kilobytes(chunk + slot)} KB, ${kilobytes(slot)} in slots, ${kilobytes(chunk)} in chunks`,
      ...heapLines(dump.tree(this.#known), this.#least, DEPTH),
      '\nby class: instances, bytes of their own',
      ...dump
        .classes(this.#known)
        .slice(0, CLASSES)
        .map(({ name, count, bytes }) => `${name}  ${count}  ${bytes}`),
      '\nby shape: objects, bytes of their own',
      ...dump
        .shapes(this.#known)
        .slice(0, SHAPES)
        .map(({ names, count, bytes }) => `${names}  ${count}  ${bytes}`),
    ];
    return lines.join('\n');
  }

  /** The fullest moment since {@link isAnswering}. */
  get fullest(): string {
    return this.#shown;
  }
}

/** Prints the report of a mote by a whole map or by the small one. */
export async function reportHeap(map: 'whole' | 'small', least: number): Promise<void> {
  await withMoteEngine('native', async (link, base) => {
    const report = new HeapReport(link, base, least);
    await runMemoryStory(link, map === 'small', DEVICES, moment => {
      if (moment === 'idle' || moment === 'active') console.log(report.tree(moment));
      report.isAnswering = moment === 'active';
    });
    console.log(report.fullest);
    const peak = reservedBytes(link.memory('figures')) - reservedBytes(base);
    console.log(`\npeak: ${kilobytes(peak)} KB reserved`);
  });
}

function kilobytes(bytes: number): string {
  return (bytes / 1024).toFixed(1);
}
