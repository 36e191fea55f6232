/**
 * The suite `tailscale`: motenet among stock tailscaled, headscale and derper.
 */
import type { Case } from './case.ts';
import { cliTailnetCases } from './tailscale-cli.ts';
import { coordinatorCases } from './tailscale-coordinator.ts';
import { derpCases } from './tailscale-derp.ts';
import { headscaleCases } from './tailscale-headscale.ts';

export const tailscaleCases: readonly Case[] = [
  ...headscaleCases,
  ...derpCases,
  ...coordinatorCases,
  ...cliTailnetCases,
];
