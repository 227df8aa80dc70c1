"""Words that mean much the same: a question may use one where the passage has another.

Groups are parted by line breaks, the words of a group by commas. A word stands in one group only.
"""

ENGLISH = """
price, cost, charge, fee
shipping, postage, delivery
return, give back, send back
refund, money back, reimbursement
warranty, guarantee
repair, fix, mend
broken, damaged, defective
buy, purchase
order, purchase order
parcel, package, box
invoice, bill
customer, client, buyer
employee, worker, staff member
manager, boss, head
holiday, vacation, leave
salary, wage, pay
start, begin
end, finish
close, shut
large, big
small, little
quick, fast
allow, permit, let
forbid, ban, prohibit
need, require
cancel, call off
change, modify, alter
delete, remove, erase
keep, retain, store
send, post, mail
phone, telephone, call
address, location
child, kid
doctor, physician
car, vehicle
flat, apartment
discount, reduction, rebate
free, at no cost
deadline, last day, due date
maximum, most, limit, up to
minimum, least
every day, daily
every week, weekly
every month, monthly
every year, yearly, annual
password, passcode
file, document
picture, photo, image
error, fault, mistake
help, assistance, support
complaint, grievance
answer, reply, response
ask, enquire
choose, select, pick
check, inspect, examine
clean, wash
heavy, weight
warm, hot
cold, chilly
safe, secure
danger, risk, hazard
lost, missing
open, unlock
shop, store front, outlet
country, nation
town, city
street, road
home, house
meal, food
drink, beverage
medicine, drug
student, pupil
teacher, instructor
lesson, class
exam, test
meeting, gathering
job, position, post title
contract, agreement
rule, regulation
member, subscriber
visitor, guest
ticket, pass
seat, place
hire, rent
owner, holder
amount, sum
part, component, piece
device, appliance
screen, display
power, electricity
light, lamp
noise, sound
size, dimensions
colour, shade
material, fabric
late, overdue
early, ahead of time
new, unused
old, used
number, quantity
reason, cause
result, outcome
letter, note
insurance, policy
lapse, expire, run out
valid, good for
estimate, quote, quotation
seal, closure
lend, lend out
deduct, take off, subtract
length, long
height, tall
width, wide
brightness, bright
speed, pace
load, carry, burden
weigh, heaviness
capacity, hold
duration, how long
mud, muddy, dirty
wind, gust
sunlight, sun
winter, snow
trousers, pants
jacket, coat
torch, flashlight
spare, replacement
manual, handbook, instructions
website, web page, site
app, application
staff, personnel
evening, night
morning, a.m.
weekend, Saturday
nearby, close to
abroad, overseas, foreign
firm, company, business
group, team
school, college
parking, car park
bicycle, bike
luggage, baggage
loan, borrowing
tax, duty
approve, authorise, sign off
submit, hand in
replace, exchange, swap
install, set up
update, upgrade
backup, spare copy
arrive, get here, reach
leave behind, forget
gift, present
surcharge, supplement, extra fee
"""
CHINESE = """
价格, 价钱, 多少钱, 售价
费用, 收费
运费, 邮费, 快递费
退货, 退回, 寄回
退款, 退钱, 返还
保修, 质保, 三包
维修, 修理, 修
损坏, 坏了, 破损
购买, 买, 下单
订单, 单子
包裹, 快递
发票, 票据
客户, 顾客, 买家
员工, 职工, 职员
经理, 主管, 负责人
假期, 休假, 放假
工资, 薪水, 薪资
开始, 启动
结束, 终止
关闭, 关门
允许, 可以
禁止, 不准, 不许
需要, 要求
取消, 撤销
修改, 更改, 变更
删除, 移除, 清除
保留, 保存, 留存
发送, 寄出, 发出
电话, 号码, 热线
地址, 位置, 在哪
孩子, 儿童, 小孩
医生, 大夫
汽车, 车辆
优惠, 折扣, 打折
免费, 不收钱, 不要钱
期限, 截止日期, 最晚
最多, 上限, 不超过
最少, 至少, 起
每天, 天天, 每日
每周, 每星期
每月, 按月
每年, 年度
密码, 口令
文件, 文档, 资料
图片, 照片
故障, 毛病, 出错
帮助, 协助, 支持
投诉, 举报
回复, 答复, 回应
选择, 挑选
检查, 检测, 查看
清洁, 清洗, 打扫
重量, 多重
高温, 发热
安全, 保险起见
危险, 风险
丢失, 遗失, 不见了
商店, 门店, 店铺
国家, 国内
房子, 住房
食品, 吃的
药品, 药物
学生, 学员
老师, 教师
课程, 上课
考试, 测验
会议, 开会
职位, 岗位
合同, 协议
规定, 规则, 制度
会员, 用户
客人, 访客
车票, 票
租赁, 租用, 出租
金额, 数额
配件, 零件, 部件
设备, 机器, 装置
屏幕, 显示屏
电源, 供电
噪音, 声音
尺寸, 大小, 多大
颜色, 色号
材料, 材质
延迟, 推迟, 晚到
提前, 预先
全新, 未使用
二手, 旧的
数量, 几个
原因, 为什么
结果, 结论
贷款, 借款
税务, 税费
批准, 审批, 同意
提交, 递交, 上交
更换, 换货, 调换
安装, 装机
更新, 升级
备份, 副本
到达, 送达, 送到
礼物, 赠品
赔偿, 赔付, 补偿
客服, 人工
上班, 工作时间
签收, 收货
定金, 订金, 预付款
挣, 赚, 收入
赔多少, 罚款
童装, 婴儿
晚上, 半夜, 夜里
早上, 上午
下午, 午后
星期天, 周日
持续, 多久, 多长时间
距离, 多远
有效期, 有效
邮箱, 邮件
公司, 企业
采购, 集采
电梯, 楼梯
搬运, 上楼
零部件, 备件
化霜, 除霜
送风, 吹风
长辈, 老人
低音炮, 音箱
等级, 级别
叠加, 同时使用
预约, 约
深度清洗, 洗机
拆封, 拆开, 拆过
抢购, 秒杀
限购, 限量
账户, 账号
物流, 运输
动静, 进展
升为, 成为
包邮, 免运费
程序, 模式
"""


def _others(table: str) -> dict[str, tuple[str, ...]]:
    """Return for each word the others of its group."""
    groups = [[word.strip() for word in line.split(",")] for line in table.split("\n") if line]
    return {word: tuple(other for other in group if other != word) for group in groups for word in group}


SYNONYMS = {"en": _others(ENGLISH), "zh": _others(CHINESE)}
