// The target's logit, made once more.

fn goal_element(row: u32, goal: u32) -> u32 {
    return bitcast<u32>(logit_of(row, goal));
}
