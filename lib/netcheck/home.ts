/**
 * Which region is home: the nearest by the best round trips of the last minutes, but not for the sake of a few
 * milliseconds: peers lose a member for seconds when its home moves. A region that answers no probe is still there when
 * its relay is heard.
 *
 * Where nothing can be measured (UDP is blocked), home stays what it was; the first one is chosen at random, so that
 * members do not all meet at the first relay of the list.
 */
import { readU32BE } from '../base/bytes.ts';
import type { RegionTable } from '../derp/region-table.ts';
import type { HomeReason } from './limits.ts';

/** Round trips count for this long: one full check and the longest report. */
const HISTORY_MS = 305_000;
/** Another region must be nearer by this, and by a third, to become home. */
const NEAR_MS = 10;
/** A relay that was heard within this time is there although it answered no probe. */
const HEARD_MS = 8000;
/** And where nothing could be measured at all: two keepalives of a relay. */
const HEARD_UNMEASURED_MS = 120_000;
/** A relay that could not be reached is not chosen for this long, unless it is heard. */
const FAILED_MS = 300_000;

const NEVER = Number.NEGATIVE_INFINITY;

/** What was chosen. */
export interface HomeChoice {
  readonly region: number;
  readonly why: HomeReason;
}

/** A round trip that was measured by the report that ended at `atMs`. */
interface Sample {
  readonly region: number;
  readonly atMs: number;
  readonly latencyMs: number;
}

/** What is known of a region's relay: when it was last heard, and when it could last not be reached. */
interface RelayNews {
  readonly region: number;
  heardMs: number;
  failedMs: number;
}

/** Chooses home, report by report. */
export class HomeChooser {
  readonly #seed: number;
  /** What the last report measured, and what was less within {@link HISTORY_MS}; the oldest first. */
  #samples: Sample[] = [];
  /** Of relays that were heard or failed. */
  #news: RelayNews[] = [];
  #regions: RegionTable | undefined = undefined;
  #scores: ReadonlyMap<number, number> | undefined = undefined;
  #region = 0;
  /** When the last report ended. Round trips up to `#voidMs` were of another network. */
  #reportMs = NEVER;
  #voidMs = NEVER;

  /** `random` is asked once. */
  constructor(random: (out: Uint8Array) => void) {
    const bytes = new Uint8Array(4);
    random(bytes);
    this.#seed = readU32BE(bytes, 0);
  }

  /** What was chosen last; 0: nothing, or it is no longer on the map. */
  get region(): number {
    return this.#canBeHome(this.#region) ? this.#region : 0;
  }

  /** Whether the last report measured anything. */
  get hasMeasured(): boolean {
    return this.#samples.some(({ atMs }) => atMs === this.#reportMs);
  }

  /** The round trip to a region by the last report, in ms. */
  latencyOf(region: number): number | undefined {
    return this.#samples.find(sample => sample.region === region && sample.atMs === this.#reportMs)?.latencyMs;
  }

  /** The map as it is now. A score multiplies the round trips of its region; those that are not above 0 count as 1. */
  setRegions(regions: RegionTable, scores: ReadonlyMap<number, number> | undefined): void {
    this.#regions = regions;
    this.#scores = scores;
    this.#news = this.#news.filter(({ region }) => regions.has(region));
  }

  /** The relay of a region has sent something. */
  noteHeard(nowMs: number, region: number): void {
    const news = this.#newsOf(region);
    if (news === undefined) return;
    news.heardMs = nowMs;
    news.failedMs = NEVER;
  }

  /** The relay of a region could not be reached. */
  noteFailed(nowMs: number, region: number): void {
    const news = this.#newsOf(region);
    if (news === undefined) return;
    news.failedMs = nowMs;
    news.heardMs = NEVER;
  }

  /** Round trips until now were of another network: they do not count any more. */
  forgetHistory(nowMs: number): void {
    this.#voidMs = nowMs;
  }

  /** Chooses by the round trips of a report that began at `startMs` and has just ended. */
  choose(nowMs: number, startMs: number, latencies: ReadonlyMap<number, number>): HomeChoice {
    const isLess = ({ region, latencyMs }: Sample) => latencyMs < (latencies.get(region) ?? Number.POSITIVE_INFINITY);
    const isOf = ({ atMs }: Sample) => atMs > this.#voidMs && nowMs - atMs <= HISTORY_MS;
    this.#samples = this.#samples.filter(sample => isOf(sample) && isLess(sample));
    for (const [region, latencyMs] of latencies) this.#samples.push({ region, atMs: nowMs, latencyMs });
    this.#reportMs = nowMs;
    this.#voidMs = NEVER;
    const choice = this.#byLatency(nowMs, startMs, latencies) ?? this.#unmeasured(nowMs);
    this.#region = choice.region;
    return choice;
  }

  #byLatency(nowMs: number, startMs: number, latencies: ReadonlyMap<number, number>): HomeChoice | undefined {
    const possible = [...latencies.keys()].filter(region => this.#canBeHome(region)).sort((a, b) => a - b);
    const working = possible.filter(region => !this.#hasFailed(nowMs, region));
    let best = 0;
    let bestMs = Number.POSITIVE_INFINITY;
    for (const region of working.length > 0 ? working : possible) {
      const recentMs = this.#recentMs(region);
      if (recentMs > bestMs || (recentMs === bestMs && region !== this.#region)) continue;
      best = region;
      bestMs = recentMs;
    }
    if (best === 0) return undefined;
    const old = this.region;
    if (old === 0 || old === best || this.#hasFailed(nowMs, old)) return { region: best, why: 'nearest' };
    const measuredMs = latencies.get(old);
    if (measuredMs === undefined) {
      const heardMs = this.#heardMs(old);
      const isHeard = heardMs > startMs || heardMs > nowMs - HEARD_MS;
      return isHeard ? { region: old, why: 'heard' } : { region: best, why: 'nearest' };
    }
    const oldMs = measuredMs * this.#score(old);
    const isNear = oldMs - bestMs < NEAR_MS || 3 * bestMs > 2 * oldMs;
    return isNear ? { region: old, why: 'near-enough' } : { region: best, why: 'nearest' };
  }

  #unmeasured(nowMs: number): HomeChoice {
    const old = this.#hasFailed(nowMs, this.#region) ? 0 : this.region;
    const sinceMs = nowMs - HEARD_UNMEASURED_MS;
    if (old !== 0 && this.#heardMs(old) > sinceMs) return { region: old, why: 'unmeasured' };
    let heard = 0;
    for (const { region, heardMs } of this.#news)
      if (heardMs > sinceMs && heardMs > this.#heardMs(heard) && this.#canBeHome(region)) heard = region;
    if (heard !== 0) return { region: heard, why: 'unmeasured' };
    if (old !== 0) return { region: old, why: 'arbitrary' };
    const choices = this.#choices(nowMs);
    if (choices.length === 0) return { region: 0, why: 'none' };
    return { region: choices[this.#seed % choices.length]!, why: 'arbitrary' };
  }

  /** Regions to choose from at random: those that work, those that are not to be avoided, as far as there are any. */
  #choices(nowMs: number): number[] {
    const all = (this.#regions?.ids() ?? []).filter(region => this.#canBeHome(region)).sort((a, b) => a - b);
    const welcome = all.filter(region => this.#regions?.isAvoided(region) !== true);
    const known = welcome.length > 0 ? welcome : all;
    const working = known.filter(region => !this.#hasFailed(nowMs, region));
    return working.length > 0 ? working : known;
  }

  #heardMs(region: number): number {
    return this.#news.find(each => each.region === region)?.heardMs ?? NEVER;
  }

  /** Undefined for a region that is not on the map. */
  #newsOf(region: number): RelayNews | undefined {
    for (const news of this.#news) if (news.region === region) return news;
    if (this.#regions?.has(region) !== true) return undefined;
    const news = { region, heardMs: NEVER, failedMs: NEVER };
    this.#news.push(news);
    return news;
  }

  #canBeHome(id: number): boolean {
    return this.#regions?.canBeHome(id) === true;
  }

  #hasFailed(nowMs: number, region: number): boolean {
    const news = this.#news.find(each => each.region === region);
    return news !== undefined && nowMs - news.failedMs < FAILED_MS;
  }

  /** The least round trip of the last minutes, by its score. */
  #recentMs(region: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (const sample of this.#samples) if (sample.region === region) least = Math.min(least, sample.latencyMs);
    return least * this.#score(region);
  }

  #score(region: number): number {
    const score = this.#scores?.get(region) ?? 1;
    return score > 0 ? score : 1;
  }
}
