/**
 * The suite `nat`: direct paths through real NAT (Linux and nftables), found, kept and found again, by stock tailscaled
 * and by motes side by side.
 */
import type { Case } from './case.ts';
import { matrixCases } from './nat-matrix.ts';
import { recoveryCases } from './nat-recovery.ts';

export const natCases: readonly Case[] = [...matrixCases, ...recoveryCases];
