/**
 * What a case of the simulation is: something that is played in a world from one seed, with what it found wrong and
 * what it measured. Test-only.
 */
import type { PcapRecorder } from './pcap.ts';
import type { TailnetWorld } from './world-tailnet.ts';

/** What {@link SimCase.play} takes besides the seed. */
export interface PlayOptions {
  /** Takes down every packet. */
  readonly recorder?: PcapRecorder;
  /** Only the pair with this name. */
  readonly pair?: string;
  /** Changes the world before anybody joins, to see that a case can fail. */
  readonly prepare?: (tailnet: TailnetWorld) => void;
}

/** What became of a case. */
export interface Outcome {
  /** What is wrong, a line each; none: it passed. */
  readonly failures: readonly string[];
  /** Named times in milliseconds of virtual time, for a summary over seeds. */
  readonly times: ReadonlyMap<string, readonly number[]>;
}

/** A case. The same seed gives the same outcome. */
export interface SimCase {
  readonly name: string;
  play(seed: number, options?: PlayOptions): Promise<Outcome>;
}

/** Collects an {@link Outcome}. */
export class Findings implements Outcome {
  readonly failures: string[] = [];
  readonly times = new Map<string, number[]>();

  /** Notes a failure unless the claim holds. */
  check(isTrue: boolean, failure: string): void {
    if (!isTrue) this.failures.push(failure);
  }

  time(name: string, ms: number): void {
    const known = this.times.get(name);
    if (known === undefined) this.times.set(name, [ms]);
    else known.push(ms);
  }
}
