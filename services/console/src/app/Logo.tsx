/** The mark: a turn that widens as it goes round. */
export function Logo({ size = 24 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden>
      <path
        d="M16.600 16.800a1.700 1.700 0 1 0-2.500-1.500c0 2.400 1.900 4.200 4.300 4.200 3.200 0 5.400-2.700 5.400-5.900C23.800 9.200 20.200 6 15.900 6 10.400 6 6.200 10.400 6.200 15.900c0 6.100 4.700 10.100 10.100 10.100"
        fill="none"
        stroke="var(--accent)"
        strokeWidth="2.6"
        strokeLinecap="round"
      />
    </svg>
  );
}
