/**
 * Reading the tree of a policy file field by field: what has the wrong form becomes a problem at its place, and reading
 * goes on with the rest. Names of fields are compared without case, as other readers of this format do.
 */
import { type JsonDocument, type JsonMember, type JsonNode, placeIn } from './hujson.ts';
import type { Parsed } from './ports.ts';
import { meant, type Place, ProblemList, quote } from './problem.ts';

/** A text and where it stands. */
export interface Text {
  readonly text: string;
  readonly start: number;
}

/** Reads fields and collects problems and notes. */
export class FieldReader {
  readonly errors = new ProblemList();
  /** Things that are not wrong but that somebody should know. */
  readonly notes = new ProblemList();
  readonly document: JsonDocument;

  constructor(document: JsonDocument) {
    this.document = document;
  }

  /** The place of something. */
  placeOf(at: { readonly start: number }): Place {
    return placeIn(this.document, at);
  }

  /** Adds a problem. */
  fail(at: { readonly start: number }, message: string, hint?: string): undefined {
    this.errors.add(this.placeOf(at), message, hint);
    return undefined;
  }

  /** Adds a note, once there is no room for more none. */
  note(at: { readonly start: number }, message: string, hint?: string): void {
    if (this.notes.problems.length < 50) this.notes.add(this.placeOf(at), message, hint);
  }

  /** The value of something parsed, its fault becoming a problem. */
  take<T>(at: { readonly start: number }, parsed: Parsed<T>): T | undefined {
    return 'fault' in parsed ? this.fail(at, parsed.fault, parsed.hint) : parsed.value;
  }

  /** Members of an object whose names are of a table, by the table's names; others are problems. */
  known(node: JsonNode, what: string, table: readonly string[]): ReadonlyMap<string, JsonMember> {
    const out = new Map<string, JsonMember>();
    if (node.kind !== 'object') {
      this.fail(node, `${what} expected an object, got a ${node.kind}`);
      return out;
    }
    const folded = new Map(table.map(name => [name.toLowerCase(), name]));
    for (const member of node.members.values()) {
      const name = folded.get(member.name.toLowerCase());
      if (name === undefined)
        this.fail(member, `${what} has no field ${quote(member.name)}`, meant(member.name, table) ?? table.join(', '));
      else if (out.has(name)) this.fail(member, `${quote(name)} is there twice`);
      else out.set(name, member);
    }
    return out;
  }

  /** Members of an object with free names. */
  members(node: JsonNode, what: string): readonly JsonMember[] {
    if (node.kind === 'object') return [...node.members.values()];
    this.fail(node, `${what} expected an object, got a ${node.kind}`);
    return [];
  }

  /** Items of a list. */
  items(node: JsonNode, what: string): readonly JsonNode[] {
    if (node.kind === 'list') return node.items;
    this.fail(
      node,
      `${what} expected a list, got a ${node.kind}`,
      node.kind === 'string' ? 'put [ ] around it' : undefined,
    );
    return [];
  }

  /** A text. */
  string(node: JsonNode, what: string): Text | undefined {
    if (node.kind === 'string') return { text: node.value, start: node.start };
    return this.fail(node, `${what} expected a text, got a ${node.kind}`);
  }

  /** Texts of a list. */
  strings(node: JsonNode, what: string): readonly Text[] {
    const out: Text[] = [];
    for (const item of this.items(node, what)) {
      const text = this.string(item, what);
      if (text !== undefined) out.push(text);
    }
    return out;
  }
}
