import { Empty } from '../../parts/Empty';

export default function Invocations() {
  return <Empty title="Invocations" />;
}
