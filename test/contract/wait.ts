/** Waiting in tests on real sockets and timers. */

/** Resolves once `condition` holds; rejects after five seconds. */
export async function eventually(condition: () => boolean): Promise<void> {
  const giveUpAt = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error(`waited in vain for ${condition}`);
    await pause(2);
  }
}

/** Resolves after some milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms));
}
