/** The portable Ed25519 keeps the contract of all. */
import { createNobleEd25519 } from '../../lib/crypto/ed25519-noble.ts';
import { ed25519Contract } from './contract-ed25519.ts';

ed25519Contract('noble', createNobleEd25519());
