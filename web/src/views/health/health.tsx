import { Empty } from '../../parts/Empty';

export default function Health() {
  return <Empty title="Health" />;
}
