/**
 * The suite `tailscale`: motenet among stock tailscaled, headscale and derper.
 */
import type { Case } from './case.ts';
import { cliTailnetCases } from './tailscale-cli.ts';
import { coordinatorCases } from './tailscale-coordinator.ts';
import { derpCases } from './tailscale-derp.ts';
import { headscaleCases } from './tailscale-headscale.ts';
import { membershipCases } from './tailscale-membership.ts';

/** Those that need no mote, and so prove the laboratory when only stock programs are at both ends. */
const STOCK_TOO: readonly string[] = Object.freeze(['lab', 'relay-frozen']);

// Relays come last, when least runs beside them: one of their cases measures rates.
export const tailscaleCases: readonly Case[] = [
  ...headscaleCases,
  ...coordinatorCases,
  ...membershipCases,
  ...cliTailnetCases,
  ...derpCases,
].map(one => ({ ...one, isMoteOnly: !STOCK_TOO.includes(one.name) }));
