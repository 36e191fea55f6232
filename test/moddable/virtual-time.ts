/**
 * Timers and a clock where the engine has none (XS alone): time jumps to the next timer when the promises that are under
 * way have had their turns. Elsewhere this changes nothing.
 */

/** Turns that promise chains get between two timers. */
const TURNS = 40;

interface Waiting {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

const globals = globalThis as {
  setTimeout?: (run: () => void, ms: number) => unknown;
  clearTimeout?: (timer: unknown) => void;
  Date: { now: () => number };
};

/** Gives the realm timers, and a clock that goes with them. */
function install(): void {
  const queue = new Set<Waiting>();
  let nowMs = 1_790_000_000_000;
  let order = 0;
  let isPumping = false;
  const pump = async () => {
    isPumping = true;
    while (queue.size > 0) {
      for (let turn = 0; turn < TURNS; turn++) await undefined;
      const next = [...queue].sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      queue.delete(next);
      nowMs = Math.max(nowMs, next.atMs);
      next.run();
    }
    isPumping = false;
  };
  globals.setTimeout = (run, ms) => {
    const waiting = { atMs: nowMs + Math.max(0, ms), order: order++, run };
    queue.add(waiting);
    if (!isPumping) void pump();
    return waiting;
  };
  globals.clearTimeout = waiting => {
    queue.delete(waiting as Waiting);
  };
  globals.Date.now = () => nowMs;
}

/** Installs them where there are none. */
export function ensureTimers(): void {
  if (globals.setTimeout === undefined) install();
}
