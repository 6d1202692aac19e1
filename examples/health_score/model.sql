-- One row an account: a health score from 0 to 100 and the flags that other teams act on.
WITH usage_30d AS (
    SELECT account_id, sum(active_users) AS active_users, sum(key_actions) AS key_actions
    FROM usage WHERE day >= 60 GROUP BY account_id
),
open_tickets AS (
    SELECT account_id, sum(CASE WHEN severity = 'high' THEN 3 ELSE 1 END) AS burden
    FROM tickets WHERE NOT resolved GROUP BY account_id
),
last_nps AS (
    SELECT account_id, last_value(score ORDER BY day) AS nps FROM nps GROUP BY account_id
),
milestones_hit AS (
    SELECT account_id, count(DISTINCT milestone) AS milestones FROM milestones GROUP BY account_id
),
scored AS (
    SELECT
        a.account_id, a.name, a.on_trial, n.nps,
        coalesce(u.key_actions, 0) AS key_actions,
        coalesce(m.milestones, 0) AS milestones,
        least(50, coalesce(u.key_actions, 0) / 8)
            + greatest(0, 30 - 5 * coalesce(t.burden, 0))
            + 2 * coalesce(n.nps, 5) AS score
    FROM accounts a
    LEFT JOIN usage_30d u ON u.account_id = a.account_id
    LEFT JOIN open_tickets t ON t.account_id = a.account_id
    LEFT JOIN last_nps n ON n.account_id = a.account_id
    LEFT JOIN milestones_hit m ON m.account_id = a.account_id
)
SELECT
    account_id,
    name,
    CAST(score AS BIGINT) AS health_score,
    CASE WHEN score >= 75 THEN 'healthy' WHEN score >= 50 THEN 'watch' ELSE 'at_risk' END AS health_tier,
    CAST(key_actions AS BIGINT) AS key_actions_30d,
    CAST(nps AS BIGINT) AS nps,
    -- Trial users who have already found their way need no onboarding mails.
    on_trial AND milestones >= 3 AS suppress_onboarding
FROM scored
