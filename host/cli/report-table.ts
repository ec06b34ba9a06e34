import type { GuestReport } from '../mediator/guest.js';
import { renderTable } from './table.js';

const NS_PER_US = 1000;

/** What a guest did, for people: operations by verdict, bytes, pages, decision times; `extra` rows come first. */
export function renderReport({ counters }: GuestReport, extra: readonly (readonly string[])[] = []): string {
  const { decisionNs } = counters;
  return renderTable(
    ['what the guest did', ''],
    [
      ...extra,
      ['operations allowed', String(counters.operationsAllowed)],
      ['operations denied', String(counters.operationsDenied)],
      ['operations failed in the driver', String(counters.operationsFailed)],
      ['policy faults', String(counters.faults)],
      ['bytes copied in', String(counters.bytesIn)],
      ['bytes copied out', String(counters.bytesOut)],
      ['pages mapped', String(counters.pagesMapped)],
      ['decision time, median', microseconds(decisionNs.median)],
      ['decision time, 99th percentile', microseconds(decisionNs.p99)],
    ],
  );
}

function microseconds(ns: number): string {
  return `${(ns / NS_PER_US).toFixed(1)} µs`;
}
