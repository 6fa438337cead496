import { Empty } from '../../parts/Empty';

export default function Alerts() {
  return <Empty title="Alerts" />;
}
