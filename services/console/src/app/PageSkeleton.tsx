import { SkeletonRows } from "@/ui/ResourceTable";

/** The outline of a page while its code or its first data is on its way. */
export function PageSkeleton() {
  return (
    <div className="page">
      <i className="bone" style={{ width: 220, height: 22 }} />
      <section className="panel">
        <SkeletonRows columns={5} rows={8} />
      </section>
    </div>
  );
}
