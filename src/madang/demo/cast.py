"""Who plays in the demonstration: only they are logged in with one click."""

# One per role. The names are made up, and so are their addresses: .example belongs to nobody.
PEOPLE = {
    "operator": ("한운영", "operator@agency.example", "operator"),
    "officer": ("김담당", "officer@agency.example", "officer"),
    "steward": ("박자원", "steward@agency.example", "steward"),
    "reviewer-1": ("이평가", "reviewer1@university.example", "reviewer"),
    "reviewer-2": ("최심사", "reviewer2@institute.example", "reviewer"),
    "executive": ("정시장", "mayor@city.example", "executive"),
    "auditor": ("윤감사", "auditor@city.example", "auditor"),
}
FOUNDERS = {
    "tenant lead": ("서무등", "lead@mudeung.example"),
    "tenant member": ("문연구", "member@mudeung.example"),
    "late applicant": ("임늦봄", "lead@latespring.example"),
}
ADDRESSES = [email for _name, email, *_role in (*PEOPLE.values(), *FOUNDERS.values())]
