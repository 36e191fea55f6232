/**
 * Whom a check asks, and when: all regions three times each in a full check; in between only those that were nearest,
 * with most patience for home, so that a lost packet does not move it.
 */
import type { RegionTable } from '../derp/region-table.ts';
import { isLoopbackPlace, type StunPlace, stunPlace } from './servers.ts';

/** Tries per region and family of a full check, and the pause between them. */
const FULL_TRIES = 3;
const FULL_SPACING_MS = 100;
/** Regions that are asked between full checks, home not counted. */
const NEAR_REGIONS = 3;
/** So many of them are asked twice, on both families. */
const NEAREST_REGIONS = 2;
const NEAREST_TRIES = 2;
const HOME_TRIES = 4;
/** Pause between tries where the round trip is not known, else so many round trips. */
const UNKNOWN_SPACING_MS = 200;
const SPACING_ROUND_TRIPS = 1.2;
/** Added for each try from the third on. */
const LATE_TRY_MS = 50;

/** One region on one family: asked until it answers. */
export interface ProbeSet {
  readonly region: number;
  readonly isV6: boolean;
  /** Whether this machine has an address of the family; without one only loopback can be asked. */
  readonly hasFamily: boolean;
  /** When each try leaves, in ms from the beginning. */
  readonly delaysMs: readonly number[];
}

/** What a plan follows from. */
export interface PlanInput {
  readonly regions: RegionTable;
  readonly hasV4: boolean;
  readonly hasV6: boolean;
  /** The region that is home; 0: none. */
  readonly home: number;
  /** The round trip to a region by the last report, in ms; and whether any answered, on each family. */
  readonly latencyOf: (region: number) => number | undefined;
  readonly had4: boolean;
  readonly had6: boolean;
  readonly isFull: boolean;
  /** Regions at most. */
  readonly limit: number;
}

/** Regions that may be asked at all, nearest first by the last report, then by id. */
export function measuredRegions(input: PlanInput): number[] {
  const { regions, home } = input;
  const allowed = regions.ids().filter(region => regions.isMeasured(region));
  const preferred = allowed.filter(region => region === home || !regions.isAvoided(region));
  const latencyOf = (region: number) => input.latencyOf(region) ?? Number.MAX_VALUE;
  return (preferred.length > 0 ? preferred : allowed).sort((a, b) => latencyOf(a) - latencyOf(b) || a - b);
}

/** The sets of one check. */
export function makePlan(input: PlanInput): ProbeSet[] {
  return input.isFull ? fullPlan(input) : nearPlan(input);
}

function fullPlan(input: PlanInput): ProbeSet[] {
  const delaysMs = Array.from({ length: FULL_TRIES }, (_, i) => i * FULL_SPACING_MS);
  const regions = measuredRegions(input);
  const ordered = [
    ...regions.filter(region => region === input.home),
    ...regions.filter(region => region !== input.home),
  ];
  const sets = ordered
    .slice(0, input.limit)
    .flatMap(region => [makeSet(input, region, false, delaysMs), makeSet(input, region, true, delaysMs)]);
  return sets.filter(set => set !== undefined);
}

function nearPlan(input: PlanInput): ProbeSet[] {
  const { home, had4, had6 } = input;
  const sets: (ProbeSet | undefined)[] = [];
  measuredRegions(input).forEach((region, rank) => {
    const isHome = region === home;
    if (rank >= NEAR_REGIONS && !isHome) return;
    const isPatient = rank < NEAREST_REGIONS || isHome;
    const isAlternating = !isPatient && had4 && had6;
    const tries = isHome ? HOME_TRIES : isPatient ? NEAREST_TRIES : 1;
    const delaysMs = delaysOf(tries, input.latencyOf(region));
    const asksV4 = !isAlternating || rank % 2 === 0;
    const asksV6 = isAlternating ? rank % 2 === 1 : isPatient || had6;
    if (asksV4) sets.push(makeSet(input, region, false, delaysMs));
    // A family that gave nothing last time gets one packet, no more.
    if (asksV6) sets.push(makeSet(input, region, true, had6 ? delaysMs : [0]));
  });
  return sets.filter(set => set !== undefined);
}

function delaysOf(tries: number, latencyMs: number | undefined): number[] {
  const spacingMs = SPACING_ROUND_TRIPS * (latencyMs ?? 0) || UNKNOWN_SPACING_MS;
  return Array.from({ length: tries }, (_, i) => i * spacingMs + (i > 1 ? i * LATE_TRY_MS : 0));
}

/** Undefined when no server of the region can be asked on that family. */
function makeSet(input: PlanInput, region: number, isV6: boolean, delaysMs: readonly number[]): ProbeSet | undefined {
  const set = { region, isV6, hasFamily: isV6 ? input.hasV6 : input.hasV4, delaysMs };
  return placesOf(input.regions, set).length === 0 ? undefined : set;
}

/** The servers of a set, worked out: try i goes to server `i % length`. */
export function placesOf(regions: RegionTable, { region, isV6, hasFamily }: ProbeSet): readonly StunPlace[] {
  const places: StunPlace[] = [];
  for (const node of regions.get(region)?.Nodes ?? []) {
    const place = stunPlace(node, isV6);
    if (place !== undefined && (hasFamily || isLoopbackPlace(place))) places.push(place);
  }
  return places;
}
