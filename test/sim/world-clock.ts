/**
 * Virtual time: events in order of time and of their making, and room for promises between them. Nothing here depends
 * on how long the machine that runs it takes. Test-only.
 */

/** Events that one call may run before it gives up: a test that loops must fail, not hang. */
const MAX_STEPS = 20_000_000;
/** Microtask turns granted between two events, enough for the promise chains of one step. */
const MICROTASK_TURNS = 12;

/** Something that will happen, unless it is called off. */
export interface WorldEvent {
  readonly atMs: number;
  readonly order: number;
  run: (() => void) | undefined;
}

/** A queue of events (a binary heap) and the time that they make pass. */
export class WorldClock {
  nowMs: number;
  readonly #heap: WorldEvent[] = [];
  #order = 0;

  constructor(nowMs = 1000) {
    this.nowMs = nowMs;
  }

  /** Runs `run` at `atMs`, or now when that is past. Setting the event's `run` to undefined calls it off. */
  at(atMs: number, run: () => void): WorldEvent {
    const event: WorldEvent = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, run };
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
    return event;
  }

  after(delayMs: number, run: () => void): WorldEvent {
    return this.at(this.nowMs + delayMs, run);
  }

  /** Lets `ms` pass. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    await this.#run(() => this.#next() > untilMs);
    this.nowMs = untilMs;
  }

  /** Lets time pass until the promise settles, and gives what it gives. Fails after `limitMs`. */
  async until<T>(promise: Promise<T>, limitMs = 600_000): Promise<T> {
    const untilMs = this.nowMs + limitMs;
    let isSettled = false;
    const settle = () => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.#run(() => isSettled || this.#next() > untilMs);
    if (!isSettled) throw new Error(`the promise did not settle within ${limitMs} ms of virtual time`);
    return promise;
  }

  /** A promise that settles after `ms`. */
  wait(ms: number): Promise<void> {
    return new Promise(resolve => this.after(ms, resolve));
  }

  async #run(isDone: () => boolean): Promise<void> {
    for (let step = 0; step < MAX_STEPS; step++) {
      for (let turn = 0; turn < MICROTASK_TURNS; turn++) await undefined;
      if (isDone()) return;
      const event = this.#take();
      if (event === undefined) return;
      this.nowMs = event.atMs;
      event.run?.();
    }
    throw new Error(`more than ${MAX_STEPS} steps: something loops`);
  }

  #next(): number {
    while (this.#heap.length > 0 && this.#heap[0]!.run === undefined) this.#take();
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  #take(): WorldEvent | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return first;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return first;
  }
}

function isBefore(a: WorldEvent, b: WorldEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
