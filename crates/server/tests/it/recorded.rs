//! The recorded answers of Medusa, sent again to the real app in the order of the recording: what is the same, what differs on purpose
//! and what is not there yet. Nothing else may differ.

mod compare;
mod differences;
mod document;
mod fixture;
mod mask;
mod minted;
mod replay;
mod shop;

use compare::Verdict;

use crate::support::app::TestApp;
use crate::support::each_db;

each_db! {
    async fn every_recorded_answer_is_ours_or_in_the_table(app: TestApp) {
        let cases = fixture::cases();
        let seen = replay::replay(app, &cases).await;
        let verdicts: Vec<Verdict> = cases.iter().zip(&seen).map(|(case, seen)| compare::judge(case, seen)).collect();
        let faults: Vec<String> = verdicts.iter().filter_map(|verdict| if let Verdict::Fault(what) = verdict { Some(what.clone()) } else { None }).collect();
        assert!(faults.is_empty(), "{} of {} answers are neither the recorded ones nor in the table:\n{}", faults.len(), cases.len(), faults.join("\n"));
        // The webhook of the replay takes no mail, but work that is left over would be told to nobody.
        app.settle().await;
    }
}
